/* Options that all commands share, as an argp child. */
#include "command.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    KEY_FORMAT = 0x200,
    KEY_COLOR,
    KEY_EXE,
    KEY_SYSROOT,
    KEY_DEBUGINFOD,
};

static const struct argp_option options[] = {
    {"format", KEY_FORMAT, "text|json", 0, "Form of the report (text)", 0},
    {"json", 'j', NULL, 0, "The same as --format json", 0},
    {"output", 'o', "FILE", 0, "Write the report to FILE, whole or not at all", 0},
    {"color", KEY_COLOR, "WHEN", 0,
     "Colours: auto (on terminals, unless NO_COLOR is set), always or never", 0},
    {"quiet", 'q', NULL, 0, "No progress; of a text report the verdict alone", 0},
    {"verbose", 'v', NULL, 0, "Long tables in full", 0},
    {"exe", KEY_EXE, "FILE", 0, "For cores: the executable", 0},
    {"sysroot", KEY_SYSROOT, "DIR", 0, "For cores: where the target's files are", 0},
    {"debuginfod", KEY_DEBUGINFOD, NULL, 0, "Ask the servers of DEBUGINFOD_URLS for symbols", 0},
    {"version", 'V', NULL, 0, "Print the version", -1},
    {"help", 'h', NULL, OPTION_HIDDEN, "", -1},
    {0},
};

/* Index of WORD in WORDS, else a usage error that names them. */
static int word_index(struct argp_state *state, const char *option, const char *word,
                      const char *const words[], int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    argp_error(state, "--%s %s: not one of %s, %s%s%s", option, word, words[0], words[1],
               count > 2 ? ", " : "", count > 2 ? words[2] : "");
    return 0;
}

static void take_target(struct argp_state *state, struct ms_common *common, const char *target)
{
    if (common->targetless)
        argp_error(state, "this command takes no target: '%s'", target);
    if (common->target)
        argp_error(state, "one target at a time: '%s' or '%s'?", common->target, target);
    if (!*target)
        argp_error(state, "the target's name is empty");
    common->target = target;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    static const char *const formats[] = {"text", "json"};
    static const char *const colors[] = {"auto", "always", "never"}; /* enum ms_color */
    struct ms_common *common = state->input;
    switch (key) {
    case KEY_FORMAT:
        common->json = word_index(state, "format", argument, formats, 2) == 1;
        return 0;
    case KEY_COLOR:
        common->color = (enum ms_color)word_index(state, "color", argument, colors, 3);
        return 0;
    case 'j':
        common->json = true;
        return 0;
    case 'o':
        common->output = argument;
        return 0;
    case 'q':
        common->quiet = true;
        return 0;
    case 'v':
        common->verbose = true;
        return 0;
    case KEY_EXE:
        common->exe = argument;
        return 0;
    case KEY_SYSROOT:
        common->sysroot = argument;
        return 0;
    case KEY_DEBUGINFOD:
        common->debuginfod = true;
        return 0;
    case 'V':
        printf("memscope %s\n", PACKAGE_VERSION);
        exit(MS_OK);
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    case ARGP_KEY_ARG:
        take_target(state, common, argument);
        return 0;
    case ARGP_KEY_END:
        if (!common->target && !common->targetless)
            argp_error(state, "which target? Give a PID or the name of a core file");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options, parse, NULL, NULL, NULL, NULL, NULL};
const struct argp_child ms_common_children[] = {{&argp, 0, "Common options:", 1}, {0}};

char *ms_help_filter(int key, const char *text, void *input)
{
    (void)input;
    return key == ARGP_KEY_HELP_DUP_ARGS_NOTE ? NULL : (char *)text;
}

bool ms_parse_size(const char *text, uint64_t *bytes)
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

bool ms_wants_color(enum ms_color color, FILE *file)
{
    if (color != MS_COLOR_AUTO)
        return color == MS_COLOR_ALWAYS;
    const char *no = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return (!no || !*no) && terminal && strcmp(terminal, "dumb") != 0 && isatty(fileno(file));
}
