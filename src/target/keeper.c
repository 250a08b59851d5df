/* A process that keeps our memory until the target was let go, should we be killed. */
#include "keeper.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int keep(void *argument)
{
    const struct ms_keeper *keeper = argument;
    /* A group of its own: Ctrl-C and the like kill us, and reach it only through our end. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == keeper->parent)
        pause();
    _exit(0);
}

void ms_keeper_start(struct ms_keeper *keeper)
{
    keeper->parent = getpid();
    pid_t pid = clone(keep, keeper->stack + sizeof keeper->stack, CLONE_VM | CLONE_FS | CLONE_FILES, keeper);
    keeper->pid = pid > 0 ? pid : 0;
}

void ms_keeper_end(struct ms_keeper *keeper)
{
    if (!keeper->pid)
        return;
    kill(keeper->pid, SIGKILL);
    waitpid(keeper->pid, NULL, __WALL);
    keeper->pid = 0;
}
