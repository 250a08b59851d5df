/* Sizes, durations, times and numbers as the fmt package of Go and gops write them. */
#include "go_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* formatBytes of gops' agent */
char *ms_go_size_text(uint64_t bytes, char text[MS_GO_WORD])
{
    static const char *const units[] = {"KB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    for (; unit < 5 && bytes >> (10 * (unit + 2)); unit++)
        value /= 1024;
    if (bytes < 1024)
        snprintf(text, MS_GO_WORD, "%" PRIu64 " bytes", bytes);
    else
        snprintf(text, MS_GO_WORD, "%.2f%s (%" PRIu64 " bytes)", value, units[unit], bytes);
    return text;
}

/* NUMBER with FRACTION as what follows the point, DIGITS long, without zeros at its end. */
static size_t write_fraction(char *text, size_t size, uint64_t number, uint64_t fraction,
                             unsigned digits)
{
    int length = fraction
                     ? snprintf(text, size, "%" PRIu64 ".%0*" PRIu64, number, (int)digits, fraction)
                     : snprintf(text, size, "%" PRIu64, number);
    while (fraction && length > 0 && text[length - 1] == '0')
        text[--length] = '\0';
    return (size_t)length;
}

/* Duration.String() of src/time/time.go */
char *ms_go_duration_text(uint64_t ns, char text[MS_GO_WORD])
{
    const uint64_t second = 1000000000;
    size_t at = 0;
    if (ns < second) {
        unsigned digits = ns < 1000 ? 0 : ns < 1000000 ? 3 : 6;
        uint64_t unit = digits == 0 ? 1 : digits == 3 ? 1000 : 1000000;
        at = write_fraction(text, MS_GO_WORD, ns / unit, ns % unit, digits);
        snprintf(text + at, MS_GO_WORD - at, "%s",
                 !ns           ? "s"
                 : digits == 0 ? "ns"
                 : digits == 3 ? "\302\265s"
                               : "ms");
        return text;
    }
    uint64_t hours = ns / second / 3600, minutes = ns / second / 60 % 60;
    if (hours)
        at += (size_t)snprintf(text, MS_GO_WORD, "%" PRIu64 "h", hours);
    if (hours || minutes)
        at += (size_t)snprintf(text + at, MS_GO_WORD - at, "%" PRIu64 "m", minutes);
    at += write_fraction(text + at, MS_GO_WORD - at, ns / second % 60, ns % second, 9);
    snprintf(text + at, MS_GO_WORD - at, "s");
    return text;
}

char *ms_go_time_text(uint64_t unix_ns, char text[MS_GO_WORD])
{
    time_t seconds = (time_t)(unix_ns / 1000000000);
    struct tm parts;
    size_t at = 0;
    if (unix_ns && localtime_r(&seconds, &parts))
        at = strftime(text, MS_GO_WORD, "%Y-%m-%d %H:%M:", &parts);
    if (!at) {
        snprintf(text, MS_GO_WORD, "-");
        return text;
    }
    snprintf(text + at, 3, "%02d", parts.tm_sec);
    at += 2;
    if (unix_ns % 1000000000) {
        at += (size_t)snprintf(text + at, MS_GO_WORD - at, ".%09" PRIu64, unix_ns % 1000000000);
        while (text[at - 1] == '0')
            text[--at] = '\0';
    }
    strftime(text + at, MS_GO_WORD - at, " %z %Z", &parts);
    return text;
}

char *ms_go_float_text(double value, char text[MS_GO_WORD])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, MS_GO_WORD, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}
