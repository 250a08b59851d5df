/* memscope: finds the command and runs it. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

#define ENTRY(name, help) {#name, help, ms_command_##name},
static const struct command {
    const char *name, *help;
    ms_command_function *run;
} commands[] = {MS_COMMANDS(ENTRY)};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

/* Longer names are not compared for similarity. */
#define LONGEST_NAME 31

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

/* Levenshtein's distance of two names of at most LONGEST_NAME characters. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[LONGEST_NAME + 2];
    size_t length = strlen(b);
    for (size_t j = 0; j <= length; j++)
        row[j] = (unsigned)j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned step = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            diagonal = row[j];
            row[j] = change < step ? change : step;
        }
    }
    return row[length];
}

/* The command that NAME is nearest to, NULL when none is near. */
static const struct command *nearest_command(const char *name)
{
    const struct command *nearest = NULL;
    unsigned least = 3;
    if (!*name || strlen(name) > LONGEST_NAME)
        return NULL;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        bool start = strncmp(name, commands[i].name, strlen(name)) == 0;
        unsigned far = start ? 0 : distance(name, commands[i].name);
        if (far < least) {
            least = far;
            nearest = &commands[i];
        }
    }
    return nearest;
}

static void print_help(FILE *out)
{
    fputs(
        "Usage: memscope COMMAND [OPTIONS] TARGET\n"
        "Inspects the memory of a running Linux process from outside, or of an ELF core file.\n\n",
        out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    fputs(
        "\nTARGET is a PID or the name of a core file. `memscope help COMMAND' tells the options.\n"
        "Try: memscope leaks PID\n",
        out);
}

static ms_result unknown_command(const char *name)
{
    const struct command *nearest = nearest_command(name);
    if (nearest)
        return ms_error(MS_USAGE, "unknown command '%s'; did you mean '%s'?", name, nearest->name);
    if (*name && !name[strspn(name, "0123456789")])
        return ms_error(MS_USAGE, "which command? For instance: memscope %s %s", commands[0].name,
                        name);
    return ms_error(MS_USAGE, "unknown command '%s'; see memscope --help", name);
}

static ms_result run_command(const char *name, int argc, char **argv, enum ms_status *status)
{
    const struct command *command = find_command(name);
    if (!command)
        return unknown_command(name);
    char title[16 + LONGEST_NAME];
    snprintf(title, sizeof title, "memscope %s", name);
    argv[0] = title; /* what argp calls us */
    return command->run(argc, argv, status);
}

static ms_result run_help(int argc, char **argv, enum ms_status *status)
{
    if (argc > 2)
        return ms_error(MS_USAGE, "help on one command at a time");
    if (argc == 2 && strcmp(argv[1], "help") != 0) {
        char option[] = "--help";
        char *arguments[] = {NULL, option, NULL};
        return run_command(argv[1], 2, arguments, status);
    }
    print_help(stdout);
    return NULL;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static ms_result run(int argc, char **argv, enum ms_status *status)
{
    if (argc < 2) {
        print_help(stderr);
        *status = MS_USAGE;
        return NULL;
    }
    if (is_one_of(argv[1], "help", "--help", "-h"))
        return run_help(argc - 1, argv + 1, status);
    if (is_one_of(argv[1], "version", "--version", "-V")) {
        printf("memscope %s\n", PACKAGE_VERSION);
        return NULL;
    }
    if (argv[1][0] == '-')
        return ms_error(MS_USAGE, "a command comes first, then options; see memscope --help");
    return run_command(argv[1], argc - 1, argv + 1, status);
}

/* A file that is opened later must not become our stdout or stderr. */
static void hold_standard_files(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY) != fd)
            _exit(MS_TARGET);
}

/* At exit, argp's too: whatever of stdout could not be written is told, but for a reader who left.
 */
static void close_stdout(void)
{
    struct pollfd reader = {STDOUT_FILENO, POLLOUT, 0};
    bool gone = poll(&reader, 1, 0) == 1 && (reader.revents & POLLERR);
    bool failed = ferror(stdout);
    errno = 0;
    failed = fclose(stdout) != 0 || failed;
    if (!failed || gone || errno == EPIPE)
        return;
    fprintf(stderr, "memscope: cannot write standard output: %s\n", strerror(errno ? errno : EIO));
    _exit(MS_TARGET);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    /* One arena: one for each thread takes 64 MiB of address space, and is made in the stop. */
    mallopt(M_ARENA_MAX, 1);
    signal(SIGPIPE, SIG_IGN);
    atexit(close_stdout);
    argp_err_exit_status = MS_USAGE;
    enum ms_status status = MS_OK;
    struct ms_error *error = run(argc, argv, &status);
    if (!error)
        return status;
    status = error->status;
    fputs("memscope: ", stderr);
    ms_write_escaped(stderr, (const uint8_t *)error->message, strlen(error->message));
    putc('\n', stderr);
    ms_error_free(error);
    return status;
}
