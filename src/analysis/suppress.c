/* Suppressions: LeakSanitizer's `leak:PATTERN` lines, read and matched. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memscope/leaks.h"

#define PREFIX "leak:"
#define BLANKS " \t\r\n\v\f"

/*
 * Does PATTERN, which ends at END, match TEXT from its start? `*` is any run of characters, and
 * what follows the pattern's end in TEXT does not matter unless WHOLE. Quadratic at worst.
 */
static bool match_here(const char *pattern, const char *end, const char *text, bool floating,
                       bool whole)
{
    /* Where to go on when a character does not match: after the last `*`, one character later. */
    const char *star = floating ? pattern : NULL;
    const char *star_text = text;
    for (;;) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            star_text = text;
        } else if (pattern == end && (!whole || !*text)) {
            return true;
        } else if (pattern < end && *text && *pattern == *text) {
            pattern++;
            text++;
        } else if (star && *star_text) {
            pattern = star;
            text = ++star_text;
        } else {
            return false;
        }
    }
}

static bool matches(const char *pattern, const char *text)
{
    size_t length = strlen(pattern);
    bool start = length > 0 && pattern[0] == '^';
    bool whole = length > start && pattern[length - 1] == '$';
    return match_here(pattern + start, pattern + length - whole, text, !start, whole);
}

bool ms_suppressed(const struct ms_suppressions *suppressions, const char *text)
{
    if (!suppressions || !text || !*text)
        return false;
    for (size_t i = 0; i < suppressions->patterns.count; i++)
        if (matches(suppressions->patterns.items[i], text))
            return true;
    return false;
}

/* Takes one line of FILE, whose end is cut off where blanks start. */
static ms_result take_line(char *line, const char *file, size_t number,
                           struct ms_suppressions *suppressions)
{
    line += strspn(line, BLANKS);
    size_t length = strlen(line);
    while (length > 0 && strchr(BLANKS, line[length - 1]))
        line[--length] = '\0';
    if (!*line || *line == '#')
        return NULL;
    if (strncmp(line, PREFIX, strlen(PREFIX)) != 0)
        return ms_error(MS_USAGE, "%s:%zu: not a suppression of leaks: expected 'leak:PATTERN'",
                        file, number);
    if (!line[strlen(PREFIX)])
        return ms_error(MS_USAGE, "%s:%zu: the pattern is empty ('leak:*' suppresses everything)",
                        file, number);
    char **pattern = ms_vector_add(&suppressions->patterns);
    if (!pattern || !(*pattern = strdup(line + strlen(PREFIX))))
        return ms_error_nomem("suppressions");
    return NULL;
}

static ms_result take_lines(FILE *stream, const char *file, struct ms_suppressions *suppressions)
{
    ms_auto_free char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    errno = 0;
    for (size_t number = 1; (length = getline(&line, &capacity, stream)) >= 0; number++) {
        if (strlen(line) != (size_t)length)
            return ms_error(MS_USAGE, "%s:%zu: not text: it holds a zero byte", file, number);
        MS_TRY(take_line(line, file, number, suppressions));
        errno = 0;
    }
    return feof(stream) ? NULL : ms_error_errno(MS_USAGE, errno, "cannot read %s", file);
}

ms_result ms_suppressions_read(const char *file, struct ms_suppressions *suppressions)
{
    *suppressions = (struct ms_suppressions){0};
    FILE *stream = fopen(file, "re");
    if (!stream)
        return ms_error_errno(MS_USAGE, errno, "cannot open the suppressions file %s", file);
    struct ms_error *error = take_lines(stream, file, suppressions);
    fclose(stream);
    if (error)
        ms_suppressions_free(suppressions);
    return error;
}

void ms_suppressions_free(struct ms_suppressions *suppressions)
{
    for (size_t i = 0; i < suppressions->patterns.count; i++)
        free(suppressions->patterns.items[i]);
    ms_vector_free(&suppressions->patterns);
}
