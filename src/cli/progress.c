/* The progress line. */
#include "command.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S  1000000000u
#define REDRAW_NS (NS_PER_S / 10)

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/*
 * The target may be stopped now, and may be what draws this very terminal or
 * the user may have stopped it with ^S: never wait for it.
 */
static bool would_block(void)
{
    struct pollfd terminal = {STDERR_FILENO, POLLOUT, 0};
    return poll(&terminal, 1, 0) != 1 || !(terminal.revents & POLLOUT);
}

static void draw(const char *text, size_t length)
{
    ssize_t ignored = would_block() ? 0 : write(STDERR_FILENO, text, length);
    (void)ignored;
}

void ms_progress_show(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct ms_progress *progress = context;
    uint64_t now = now_ns();
    if (now - progress->last_ns < REDRAW_NS)
        return;
    progress->last_ns = now;
    char line[100];
    int length = total ? snprintf(line, sizeof line, "\rmemscope: %.60s %3u%%\033[K", stage,
                                  (unsigned)((double)done * 100.0 / (double)total))
                       : snprintf(line, sizeof line, "\rmemscope: %.60s\033[K", stage);
    if (length <= 0 || (size_t)length >= sizeof line)
        return;
    draw(line, (size_t)length);
    progress->shown = true;
}

void ms_progress_clear(struct ms_progress *progress)
{
    static const char clear[] = "\r\033[K";
    if (progress->shown)
        draw(clear, sizeof clear - 1);
    progress->shown = false;
}
