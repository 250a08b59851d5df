/* A small order service with three leaks and healthy caches, for contrib/demo.sh to inspect. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    CUSTOMERS = 64,
    ORDERS = 5000,
    ITEMS = 3,
};

struct item {
    struct item *next;
    char name[40];
};

struct order {
    unsigned number;
    struct item *items;
    char *note;
};

/* A session and its handler point at each other. */
struct session {
    struct handler *handler;
    char user[48];
};

struct handler {
    struct session *session;
    char state[112];
};

/* Healthy: each order replaces the one that its customer had before. */
static struct order *last_order[CUSTOMERS];

/* Healthy: grows, and all of it stays in use. */
static char **history;

static void *must(void *memory)
{
    if (!memory) {
        perror("leaky");
        exit(1);
    }
    return memory;
}

static struct order *new_order(unsigned number)
{
    struct order *order = must(calloc(1, sizeof(*order)));

    order->number = number;
    for (int i = 0; i < ITEMS; i++) {
        struct item *item = must(calloc(1, sizeof(*item)));

        snprintf(item->name, sizeof(item->name), "article %u of order %u", i + 1u, number);
        item->next = order->items;
        order->items = item;
    }
    return order;
}

static void free_order(struct order *order)
{
    if (!order)
        return;
    while (order->items) {
        struct item *item = order->items;

        order->items = item->next;
        free(item);
    }
    free(order->note);
    free(order);
}

/* Leak 1: a second note overwrites the first, which is not freed. */
static void set_note(struct order *order, const char *text)
{
    order->note = must(strdup(text));
}

/* Leak 2: a refused order is forgotten, and its items with it. */
static void refuse(struct order *order)
{
    order->number = 0;
}

/* Leak 3: a ring. Both ends are there, nobody holds either. */
static void log_in(unsigned customer)
{
    struct session *session = must(calloc(1, sizeof(*session)));
    struct handler *handler = must(calloc(1, sizeof(*handler)));

    session->handler = handler;
    handler->session = session;
    snprintf(session->user, sizeof(session->user), "customer-%u@example.org", customer);
}

static void process(unsigned number)
{
    struct order *order = new_order(number);
    unsigned customer = number % CUSTOMERS;
    char note[64];

    snprintf(note, sizeof(note), "order %u: leave it at the door", number);
    set_note(order, note);
    if (number % 10 == 0) {
        snprintf(note, sizeof(note), "order %u: ring twice, then leave it", number);
        set_note(order, note);
    }
    history[number] = must(strdup(note));
    if (number % 50 == 7) {
        refuse(order);
        return;
    }
    if (number % 20 == 3)
        log_in(customer);
    free_order(last_order[customer]);
    last_order[customer] = order;
}

/* Leaves no pointer to the last orders on the part of the stack that is still in use. */
static void process_all(void)
{
    history = must(calloc(ORDERS, sizeof(*history)));
    for (unsigned number = 0; number < ORDERS; number++)
        process(number);
}

int main(void)
{
    /* Where Yama guards ptrace, a process may say who may inspect it: here, anybody. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    process_all();
    printf("leaky has pid %d: %d notes, %d orders of %d items and %d rings of two are lost; ready\n",
           (int)getpid(), ORDERS / 10, ORDERS / 50, ITEMS, ORDERS / 20);
    fflush(stdout);
    for (;;)
        sleep(1);
}
