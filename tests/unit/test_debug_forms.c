/* One small program with its debug information in every form that tools give it, against what it prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memscope/capture.h"
#include "memscope/types.h"

/* Two units that share a structure; one only declares what the other defines. Each prints where its things are. */
static const char first_unit[] =
    "#include <stddef.h>\n#include <stdio.h>\n#include <unistd.h>\n"
    "struct item { char kind; struct item *next; const unsigned long weight; struct { short x, y; } at[2]; };\n"
    "struct declared; extern struct declared defined_elsewhere; void second(void);\n"
    "typedef struct { int a; struct item *item; } named_by_typedef;\n"
    "struct declared *volatile declared_pointer; static struct item items[3];\n"
    "volatile named_by_typedef by_typedef; __thread volatile long each_thread;\n"
    "#define V(V, UNIT, FUNCTION, TYPE) printf(\"variable %s %s %s %p %zu %s\\n\", #V, UNIT, FUNCTION, \\\n"
    "    (void *)&V, sizeof V, TYPE)\n"
    "int main(void) { static struct item *volatile of_main;\n"
    "    declared_pointer = &defined_elsewhere; of_main = items + 1; by_typedef.item = of_main; each_thread++;\n"
    "    V(declared_pointer, \"first.c\", \"-\", \"struct declared *\");\n"
    "    V(items, \"first.c\", \"-\", \"struct item [3]\");\n"
    "    V(by_typedef, \"first.c\", \"-\", \"named_by_typedef\"); V(each_thread, \"first.c\", \"-\", \"long\");\n"
    "    V(of_main, \"first.c\", \"main\", \"struct item *\");\n"
    "    printf(\"member item next %zu\\nmember item weight %zu\\nmember item at %zu\\n\",\n"
    "        offsetof(struct item, next), offsetof(struct item, weight), offsetof(struct item, at));\n"
    "    second(); printf(\"end\\n\"); fflush(stdout); pause(); return (int)items[1].weight; }\n";
static const char second_unit[] =
    "#include <stddef.h>\n#include <stdio.h>\n"
    "struct item { char kind; struct item *next; const unsigned long weight; struct { short x, y; } at[2]; };\n"
    "struct declared { long first; struct item *second; } defined_elsewhere; static volatile int counter;\n"
    "void second(void) { counter++;\n"
    "    printf(\"variable counter second.c - %p 4 int\\n\", (void *)&counter);\n"
    "    printf(\"variable defined_elsewhere second.c - %p %zu struct declared\\n\", (void *)&defined_elsewhere,\n"
    "        sizeof defined_elsewhere);\n"
    "    printf(\"member declared second %zu\\n\", offsetof(struct declared, second)); }\n";

/* BUILD runs in a directory of its own with first.c and second.c; %s of SYSROOT is that directory. */
static const struct form {
    const char *name, *build;
    bool sysroot;
} forms[] = {
    {"gcc, DWARF 5", "gcc -g -gdwarf-5 first.c second.c -o target", false},
    {"gcc, DWARF 4", "gcc -g -gdwarf-4 first.c second.c -o target", false},
    {"gcc, DWARF 3", "gcc -g -gdwarf-3 first.c second.c -o target", false},
    {"gcc -O2", "gcc -g -O2 first.c second.c -o target", false},
    {"gcc, fixed addresses", "gcc -g -no-pie first.c second.c -o target", false},
    {"gcc, type units, DWARF 5", "gcc -g -fdebug-types-section first.c second.c -o target", false},
    {"gcc, type units, DWARF 4", "gcc -g -gdwarf-4 -fdebug-types-section first.c second.c -o target", false},
    {"gcc, compressed", "gcc -g -gz=zlib first.c second.c -o target", false},
    {"gcc, compressed as GNU did", "gcc -g -gz=zlib-gnu first.c second.c -o target", false},
    {"gcc, split, DWARF 5", "gcc -g -gsplit-dwarf first.c second.c -o target", false},
    {"gcc, split, DWARF 4", "gcc -g -gdwarf-4 -gsplit-dwarf first.c second.c -o target", false},
    {"gcc, link-time optimisation", "gcc -g -O1 -flto first.c second.c -o target", false},
    {"clang, DWARF 5", "clang -g -gdwarf-5 first.c second.c -o target", false},
    {"clang, DWARF 4", "clang -g -gdwarf-4 first.c second.c -o target", false},
    {"clang -O2", "clang -g -O2 first.c second.c -o target", false},
    {"clang, split", "clang -g -gdwarf-5 -gsplit-dwarf first.c second.c -o target", false},
    {"a file of its own", "gcc -g first.c second.c -o target && objcopy --only-keep-debug target target.debug && "
     "strip target && objcopy --add-gnu-debuglink=target.debug target", false},
    {"split, files in the sysroot, DWARF 5", "gcc -g -gsplit-dwarf first.c second.c -o target && "
     "mkdir -p .$PWD && mv *.dwo .$PWD", true},
    {"split, files in the sysroot, DWARF 4", "gcc -g -gdwarf-4 -gsplit-dwarf first.c second.c -o target && "
     "mkdir -p .$PWD && mv *.dwo .$PWD", true},
    {"package, DWARF 4", "gcc -g -gdwarf-4 -gsplit-dwarf first.c second.c -o target && dwp -e target && rm *.dwo",
     false},
    {"package, DWARF 5", "clang -g -gdwarf-5 -gsplit-dwarf first.c second.c -o target && "
     "llvm-dwp -e target -o target.dwp && rm *.dwo", false},
    {"dwz", "gcc -g first.c second.c -o target && gcc -g -shared -fPIC second.c -o other && "
     "dwz -m common target other", false},
};

static char directory[] = "/tmp/memscope-forms-XXXXXX";

struct world {
    pid_t child;
    FILE *output;
    struct ms_image *image;
    struct ms_symbols *symbols;
    struct ms_types *types;
};

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void build(const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && rm -rf target* other common tmp *.dwo && { %s; } >log 2>&1 || "
             "{ cat log; false; }", directory, command);
    if (system(line) != 0) /* the tests' own commands; a tool that is missing is a failure */
        fail_msg("cannot build: %s", command);
}

/* Runs the target, which prints until "end"; LINES gets what it said. */
static struct world run(bool sysroot, char lines[64][256], size_t *count)
{
    struct world w = {0};
    char path[128];
    int ends[2];
    struct ms_capture_options capture = {.want = MS_WANT_FULL};
    struct ms_symbols_options options = {.sysroot = sysroot ? directory : NULL};
    snprintf(path, sizeof path, "%s/target", directory);
    assert_int_equal(pipe(ends), 0);
    w.child = fork();
    if (w.child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves it behind */
        dup2(ends[1], 1);
        execl(path, path, (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    w.output = fdopen(ends[0], "r");
    assert_non_null(w.output);
    for (*count = 0; *count < 64 && fgets(lines[*count], 256, w.output) && strcmp(lines[*count], "end\n") != 0;)
        ++*count;
    struct ms_error *error = ms_capture(w.child, &capture, &w.image);
    if (!error)
        error = ms_symbols_new(w.image, &options, &w.symbols);
    if (!error)
        error = ms_types_new(w.symbols, w.image, NULL, NULL, &w.types);
    if (error)
        fail_msg("%s", error->message);
    return w;
}

static void end(struct world *w)
{
    ms_types_free(w->types);
    ms_symbols_free(w->symbols);
    ms_image_free(w->image);
    kill(w->child, SIGKILL);
    waitpid(w->child, NULL, 0);
    fclose(w->output);
}

static void check_variable(struct world *w, const char *line)
{
    char name[64], unit[64], function[64], type[64];
    uint64_t at;
    size_t size;
    struct ms_place_type place;
    int read = sscanf(line, "variable %63s %63s %63s %lx %zu %63[^\n]", name, unit, function, &at, &size, type);
    assert_int_equal(read, 6);
    at += size - 1;
    assert_null(ms_types_find(w->types, &at, 1, &place));
    if (!place.variable)
        fail_msg("nothing is known of %s", name);
    assert_string_equal(place.variable->name, name);
    assert_string_equal(place.variable->unit, unit);
    assert_string_equal(place.variable->function ? place.variable->function : "-", function);
    assert_string_equal(place.variable->type->name, type);
    assert_int_equal(place.variable->type->size, size);
    assert_int_equal(place.offset, size - 1);
    assert_int_equal(place.tid, strcmp(name, "each_thread") ? 0 : w->child);
}

static void check_member(struct world *w, const char *line)
{
    char type_name[64], name[64];
    size_t offset;
    assert_int_equal(sscanf(line, "member %63s %63s %zu", type_name, name, &offset), 3);
    const struct ms_type *type = ms_type_named(w->types, type_name);
    if (!type)
        fail_msg("no type %s, or several", type_name);
    for (size_t i = 0; i < ms_type_complete(w->types, type)->member_count; i++)
        if (type->members[i].name && !strcmp(type->members[i].name, name)) {
            assert_int_equal(type->members[i].offset, offset);
            return;
        }
    fail_msg("no member %s in %s", name, type_name);
}

/* What is only declared where the pointer is, is what the other unit defines. */
static void check_declared(struct world *w)
{
    const struct ms_type *defined = ms_type_named(w->types, "declared");
    uint64_t at = ms_symbols_address(w->symbols, "declared_pointer", NULL);
    struct ms_place_type place;
    assert_null(ms_types_find(w->types, &at, 1, &place));
    if (at == 0 || !place.variable)
        return; /* stripped of symbols, or made local; its line of truth was compared */
    assert_ptr_equal(ms_type_complete(w->types, place.variable->type->target), defined);
}

static void test_form(void **state)
{
    const struct form *form = *state;
    char lines[64][256];
    size_t count;
    build(form->build);
    struct world w = run(form->sysroot, lines, &count);
    assert_int_equal(count, 11);
    for (size_t i = 0; i < count; i++)
        if (lines[i][0] == 'v')
            check_variable(&w, lines[i]);
        else
            check_member(&w, lines[i]);
    check_declared(&w);
    end(&w);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    write_text("first.c", first_unit);
    write_text("second.c", second_unit);
    return 0;
}

static int teardown(void **state)
{
    char line[128];
    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", directory);
    return system(line);
}

int main(void)
{
    enum { COUNT = sizeof forms / sizeof *forms };
    struct CMUnitTest tests[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){.name = forms[i].name, .test_func = test_form,
                                       .initial_state = (void *)(uintptr_t)&forms[i]};
    return cmocka_run_group_tests(tests, setup, teardown);
}
