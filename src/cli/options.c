/* The command line of a command: its options are a table, and so are those that all of them have. */
#include "command.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static ms_result take_format(void *options, const char *text)
{
    struct ms_common *common = options;
    common->json = strcmp(text, "json") == 0;
    if (!common->json && strcmp(text, "text") != 0)
        return ms_error(MS_USAGE, "--format %s: not one of text, json", text);
    return NULL;
}

static ms_result print_version(void *options, const char *text)
{
    (void)options, (void)text;
    printf("memscope %s\n", PACKAGE_VERSION);
    exit(MS_OK);
}

static const char *const colors[] = {"auto", "always", "never"}; /* enum ms_color */

#define INTO(member) .into = offsetof(struct ms_common, member)
static const struct ms_option common_options[] = {
    {"format", 0, "text|json", "Form of the report (text)", MS_TAKES_OWN, .take = take_format},
    {"json", 'j', NULL, "The same as --format json", MS_TAKES_NOTHING, INTO(json)},
    {"output", 'o', "FILE", "Write the report to FILE, whole or not at all", MS_TAKES_TEXT, INTO(output)},
    {"color", 0, "WHEN", "Colours: auto (on terminals, unless NO_COLOR is set), always or never", MS_TAKES_WORD,
     INTO(color), .words = colors, .word_count = 3},
    {"quiet", 'q', NULL, "No progress; of a text report the verdict alone", MS_TAKES_NOTHING, INTO(quiet)},
    {"verbose", 'v', NULL, "Long tables in full", MS_TAKES_NOTHING, INTO(verbose)},
    {"exe", 0, "FILE", "For cores: the executable", MS_TAKES_TEXT, INTO(exe)},
    {"sysroot", 0, "DIR", "For cores: where the target's files are", MS_TAKES_TEXT, INTO(sysroot)},
    {"debuginfod", 0, NULL, "Ask the servers of DEBUGINFOD_URLS for symbols", MS_TAKES_NOTHING, INTO(debuginfod)},
    {"version", 'V', NULL, "Print the version", MS_TAKES_OWN, .take = print_version},
};
#define COMMON_COUNT (sizeof common_options / sizeof *common_options)

/* Keys of options without a letter: this and the place in the table, the common ones behind the command's. */
#define KEY_FIRST 0x100
#define KEY_HELP  'h'

/* Those of argp's groups that are not 0, the command's own: the common ones, and argp's --help at the end. */
enum { GROUP_COMMON = 1, GROUP_HELP = -1 };

struct reading {
    const struct ms_command_line *line;
    void *options;
    struct ms_error *error; /* the first */
};

static const struct ms_option *option_at(const struct ms_command_line *line, size_t i)
{
    return i < line->option_count ? &line->options[i] : &common_options[i - line->option_count];
}

static int key_of(const struct ms_option *option, size_t i)
{
    return option->letter ? option->letter : KEY_FIRST + (int)i;
}

/* --- values ------------------------------------------------------------------------------------ */

/* Bytes, with an optional k, M, G or T (binary; "MiB" and "MB" are the same); false if TEXT is not that. */
static bool parse_size(const char *text, uint64_t *bytes)
{
    static const char suffixes[] = "kMGT";
    uint64_t value = 0;
    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (unsigned)(*text - '0'), &value))
            return false;
    unsigned shift = 0;
    for (unsigned i = 0; i < sizeof suffixes - 1; i++)
        if (tolower((unsigned char)*text) == tolower((unsigned char)suffixes[i]))
            shift = 10 * (i + 1);
    text += shift != 0;
    if (*text && strcasecmp(text, "b") != 0 && (!shift || strcasecmp(text, "ib") != 0))
        return false;
    *bytes = value << shift;
    return *bytes >> shift == value;
}

static bool parse_number(const char *text, uint64_t *value)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !*end && !errno;
}

static ms_result take_word(const struct ms_option *option, const char *text, int *into)
{
    char words[256] = "";
    for (unsigned i = 0; i < option->word_count; i++) {
        if (strcmp(text, option->words[i]) == 0) {
            *into = (int)i;
            return NULL;
        }
        size_t length = strlen(words);
        snprintf(words + length, sizeof words - length, "%s%s", i ? ", " : "", option->words[i]);
    }
    return ms_error(MS_USAGE, "--%s %s: not one of %s", option->name, text, words);
}

static ms_result take_number(const struct ms_option *option, const char *text, uint64_t *into)
{
    uint64_t number;
    if (!parse_number(text, &number) || number < option->least || number > option->most)
        return ms_error(MS_USAGE, "-%s%s %s: not a number from %llu to %llu", option->name ? "-" : "",
                        option->name ? option->name : (char[]){(char)option->letter, '\0'}, text,
                        (unsigned long long)option->least, (unsigned long long)option->most);
    *into = number;
    return NULL;
}

static ms_result take_size(const struct ms_option *option, const char *text, uint64_t *into)
{
    if (!parse_size(text, into))
        return ms_error(MS_USAGE, "--%s %s: not a size such as 4096, 64k or 1M", option->name, text);
    return NULL;
}

static ms_result take(const struct ms_option *option, const char *text, void *options)
{
    void *into = (char *)options + option->into;
    switch (option->takes) {
    case MS_TAKES_NOTHING:
        *(bool *)into = true;
        return NULL;
    case MS_TAKES_TEXT:
        *(const char **)into = text;
        return NULL;
    case MS_TAKES_WORD:
        return take_word(option, text, into);
    case MS_TAKES_NUMBER:
        return take_number(option, text, into);
    case MS_TAKES_SIZE:
        return take_size(option, text, into);
    case MS_TAKES_OWN:
        break;
    }
    return option->take(options, text);
}

/* --- operands ---------------------------------------------------------------------------------- */

static ms_result take_operand(const struct ms_command_line *line, struct ms_common *common, const char *text)
{
    if (!*line->operands)
        return ms_error(MS_USAGE, "this command takes no target: '%s'", text);
    if (!common->target && !*text)
        return ms_error(MS_USAGE, "the target's name is empty");
    if (!common->target)
        common->target = text;
    else if (!line->operand)
        return ms_error(MS_USAGE, "one target at a time: '%s' or '%s'?", common->target, text);
    else if (common->operand)
        return ms_error(MS_USAGE, "one %s at a time: '%s' or '%s'?", line->operand, common->operand, text);
    else
        common->operand = text;
    return NULL;
}

static ms_result check_operands(const struct ms_command_line *line, const struct ms_common *common)
{
    if (*line->operands && !common->target)
        return ms_error(MS_USAGE, "which target? Give a PID or the name of a core file");
    if (line->operand && !common->operand)
        return ms_error(MS_USAGE, "which %s? It comes behind the target", line->operand);
    return NULL;
}

/* --- argp -------------------------------------------------------------------------------------- */

static ms_result take_key(const struct reading *reading, int key, const char *text, struct argp_state *state)
{
    const struct ms_command_line *line = reading->line;
    switch (key) {
    case KEY_HELP:
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return NULL;
    case ARGP_KEY_ARG:
        return take_operand(line, reading->options, text);
    case ARGP_KEY_END:
        return check_operands(line, reading->options);
    default:
        break;
    }
    for (size_t i = 0; i < line->option_count + COMMON_COUNT; i++)
        if (key == key_of(option_at(line, i), i))
            return take(option_at(line, i), text, reading->options);
    return NULL;
}

static error_t parse(int key, char *text, struct argp_state *state)
{
    struct reading *reading = state->input;
    if (key != ARGP_KEY_ARG && key != ARGP_KEY_END && (key < 0 || key >= ARGP_KEY_END))
        return ARGP_ERR_UNKNOWN;
    reading->error = take_key(reading, key, text, state);
    return reading->error ? EINVAL : 0;
}

/* Leaves argp's note on mandatory arguments out of --help. */
static char *filter_help(int key, const char *text, void *input)
{
    (void)input;
    return key == ARGP_KEY_HELP_DUP_ARGS_NOTE ? NULL : (char *)text;
}

static void fill_argp(const struct ms_command_line *line, struct argp_option *filled)
{
    for (size_t i = 0; i < line->option_count + COMMON_COUNT; i++) {
        const struct ms_option *option = option_at(line, i);
        if (i == line->option_count)
            *filled++ = (struct argp_option){.doc = "Common options:", .group = GROUP_COMMON};
        const int group = i < line->option_count ? 0 : option->letter == 'V' ? GROUP_HELP : GROUP_COMMON;
        *filled++ = (struct argp_option){option->name, key_of(option, i), option->argument, 0, option->help, group};
    }
    *filled++ = (struct argp_option){"help", KEY_HELP, NULL, OPTION_HIDDEN, "", GROUP_HELP};
    *filled = (struct argp_option){0};
}

ms_result ms_command_line_read(const struct ms_command_line *line, int argc, char **argv, void *options)
{
    struct argp_option *filled = calloc(line->option_count + COMMON_COUNT + 3, sizeof *filled);
    if (!filled)
        return ms_error_nomem("the command line");
    fill_argp(line, filled);
    const struct argp argp = {filled, parse, line->operands, line->help, NULL, filter_help, NULL};
    struct reading reading = {line, options, NULL};
    error_t failed = argp_parse(&argp, argc, argv, 0, NULL, &reading);
    free(filled);
    return failed && !reading.error ? ms_error_nomem("the command line") : reading.error;
}

bool ms_wants_color(int color, FILE *file)
{
    if (color != MS_COLOR_AUTO)
        return color == MS_COLOR_ALWAYS;
    const char *no = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return (!no || !*no) && terminal && strcmp(terminal, "dumb") != 0 && isatty(fileno(file));
}
