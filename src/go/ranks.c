/* Which variables people know best: those that say who holds a block, when several do. */
#include <string.h>

#include "heap.h"

/* Of a path "example.com/server/cache" is it MODULE, or in it? */
static bool is_in_module(const char *name, const char *module)
{
    const size_t length = module ? strlen(module) : 0;
    return length && !strncmp(name, module, length) && (name[length] == '.' || name[length] == '/');
}

/* What programs do not look into: their holding something says nothing. */
static bool is_inside(const char *name)
{
    static const char *const packages[] = {"runtime.", "runtime/", "sync.", "sync/", "internal/",
                                           "unique.",  "vendor/",  "go:",   "type:"};
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++)
        if (!strncmp(name, packages[i], strlen(packages[i])))
            return true;
    return false;
}

/* A path that begins with a domain is no part of Go's library. */
static bool is_library(const char *name)
{
    const char *slash = strchr(name, '/');
    const size_t first = slash ? (size_t)(slash - name) : 0;
    return !memchr(name, '.', first);
}

enum ms_root_rank ms_go_variable_rank(const struct ms_go *go, uint64_t address)
{
    uint64_t offset;
    const char *name = go->symbols ? ms_symbols_name(go->symbols, address, &offset) : NULL;
    if (!name || !strncmp(name, "main.", 5) || is_in_module(name, go->main_module))
        return MS_RANK_OWN;
    if (is_inside(name))
        return MS_RANK_INSIDE;
    return is_library(name) ? MS_RANK_LIBRARY : MS_RANK_OTHER;
}
