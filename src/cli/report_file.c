/* The file a report goes to: written beside its name and renamed when it is whole. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct report_file {
    FILE *file;
    char *path;      /* what it is going to be called; owned; NULL: no file of ours */
    char *temporary; /* owned; NULL: FILE is written in place (stdout, a device, a pipe) */
};

/* Reports may be long lists. */
#define BUFFER_SIZE (1u << 16)

static ms_result cannot_write(const char *path, int errnum)
{
    return ms_error_errno(MS_TARGET, errnum, "cannot write %s", path);
}

static bool is_stdout(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

/* Devices, pipes and the like are written in place. */
static bool in_place(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

ms_result ms_report_file_check(const char *path)
{
    if (is_stdout(path))
        return NULL;
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return cannot_write(path, EISDIR);
    char *copy = strdup(path);
    if (!copy)
        return ms_error_nomem(path);
    int denied = access(in_place(path) ? path : dirname(copy), W_OK) != 0 ? errno : 0;
    free(copy);
    return denied ? cannot_write(path, denied) : NULL;
}

static mode_t current_umask(void)
{
    mode_t mask = umask(0);
    umask(mask);
    return mask;
}

/* The new file gets the old one's owner and mode, or those of any new file. */
static void copy_mode(int fd, const char *path)
{
    struct stat old;
    if (stat(path, &old) != 0) {
        (void)fchmod(fd, 0666 & ~current_umask());
        return;
    }
    if (fchown(fd, old.st_uid, old.st_gid) == 0)
        (void)fchmod(fd, old.st_mode & 0777);
}

static ms_result open_temporary(struct report_file *report)
{
    ms_auto_free char *copy = strdup(report->path);
    if (!copy || asprintf(&report->temporary, "%s/.memscope-XXXXXX", dirname(copy)) < 0) {
        report->temporary = NULL;
        return ms_error_nomem(report->path);
    }
    int fd = mkostemp(report->temporary, O_CLOEXEC);
    if (fd < 0) {
        int errnum = errno;
        free(report->temporary);
        report->temporary = NULL;
        return cannot_write(report->path, errnum);
    }
    copy_mode(fd, report->path);
    report->file = fdopen(fd, "w");
    if (!report->file)
        close(fd);
    return report->file ? NULL : ms_error_nomem(report->path);
}

static ms_result open_file(const char *path, struct report_file *report)
{
    /* A symbolic link stays one. */
    report->path = in_place(path) ? NULL : realpath(path, NULL);
    if (!report->path)
        report->path = strdup(path);
    if (!report->path)
        return ms_error_nomem(path);
    if (!in_place(path))
        return open_temporary(report);
    report->file = fopen(path, "we");
    return report->file ? NULL : cannot_write(path, errno);
}

/* Closes a file of ours and gives it its name. */
static ms_result finish(struct report_file *report)
{
    bool failed = ferror(report->file);
    errno = 0;
    if (fclose(report->file) != 0 || failed) {
        report->file = NULL;
        return cannot_write(report->path, errno ? errno : EIO);
    }
    report->file = NULL;
    if (report->temporary && rename(report->temporary, report->path) != 0)
        return cannot_write(report->path, errno);
    free(report->temporary);
    report->temporary = NULL;
    return NULL;
}

/* Closes; with an ERROR, which is passed through, nothing is left behind. */
static ms_result close_report(struct report_file *report, struct ms_error *error)
{
    /* What becomes of stdout is seen at exit, main.c. */
    if (!error && report->path)
        error = finish(report);
    if (report->path && report->file)
        fclose(report->file);
    if (report->temporary)
        unlink(report->temporary);
    free(report->temporary);
    free(report->path);
    *report = (struct report_file){0};
    return error;
}

static ms_result open_report(const char *path, struct report_file *report)
{
    *report = (struct report_file){0};
    if (is_stdout(path)) {
        report->file = stdout;
    } else {
        struct ms_error *error = open_file(path, report);
        if (error)
            return close_report(report, error);
    }
    setvbuf(report->file, NULL, _IOFBF, BUFFER_SIZE);
    return NULL;
}

ms_result ms_report_write(const struct ms_common *common, const struct ms_session *session,
                          ms_report_writer *write, const void *options, const void *report)
{
    struct report_file file;
    MS_TRY(open_report(common->output, &file));
    const struct ms_view view = {
        .out = file.file,
        .color = ms_wants_color(common->color, file.file),
        .verbose = common->verbose,
        .quiet = common->quiet,
        .go = session && session->go ? ms_go_release(session->go) : NULL,
    };
    return close_report(&file, write(&view, session, options, report));
}
