/* Rules for containers of libstdc++, libc++ and Rust's std, whose nodes their pointers do not tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shape.h"

#define AS_DECLARED (-1)
#define THE_HOLDER (-2)

/*
 * libstdc++ of GCC 12: bits/stl_tree.h, stl_list.h, forward_list.h, hashtable.h, hashtable_policy.h,
 * stl_vector.h, stl_deque.h; libc++ of LLVM 14: __tree, list, forward_list, __hash_table, vector;
 * Rust 1.63 and 1.80: alloc/src/vec, collections/vec_deque, hashbrown 0.12 and 0.14 src/raw.
 * Rules of one holder stand together.
 */
static const struct ms_container_rule rules[] = {
    {"std::_Rb_tree<", "std::_Rb_tree_node_base", NULL, MS_LINK_NODE, "_Link_type", "std::_Rb_tree_node<%s>", 1,
     NULL, NULL, false, false},
    {"std::_Rb_tree_node<", "std::_Rb_tree_node_base", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::__cxx11::_List_base<", "std::__detail::_List_node_base", NULL, MS_LINK_NODE, NULL,
     "std::_List_node<%s>", 0, NULL, NULL, false, false},
    {"std::_List_base<", "std::__detail::_List_node_base", NULL, MS_LINK_NODE, NULL, "std::_List_node<%s>", 0,
     NULL, NULL, false, false},
    {"std::_List_node<", "std::__detail::_List_node_base", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::_Fwd_list_base<", "std::_Fwd_list_node_base", NULL, MS_LINK_NODE, NULL, "std::_Fwd_list_node<%s>", 0,
     NULL, NULL, false, false},
    {"std::_Fwd_list_node<", "std::_Fwd_list_node_base", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::_Hashtable<", "std::__detail::_Hash_node_base", NULL, MS_LINK_NODE, "__node_type", NULL, 1,
     NULL, NULL, false, false},
    {"std::__detail::_Hash_node<", "std::__detail::_Hash_node_base", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::vector<", NULL, "_M_start", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, "_M_start", "_M_finish", false,
     false},
    {"std::vector<", NULL, "_M_finish", MS_LINK_OPEN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"std::vector<", NULL, "_M_end_of_storage", MS_LINK_OPEN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"std::deque<", NULL, "_M_map", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, "_M_node", "_M_node", true, false},
    {"std::deque<", NULL, "_M_first", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"std::deque<", NULL, "_M_last", MS_LINK_OPEN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"std::__1::vector<", NULL, "__begin_", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, "__begin_", "__end_", false,
     false},
    {"std::__1::vector<", NULL, "__end_", MS_LINK_OPEN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"std::__1::__tree<", "std::__1::__tree_", NULL, MS_LINK_NODE, "__node",
     "std::__1::__tree_node<%s, void *>", 0, NULL, NULL, false, false},
    {"std::__1::__tree_node<", "std::__1::__tree_", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::__1::__list_imp<", "std::__1::__list_node_base<", NULL, MS_LINK_NODE, NULL,
     "std::__1::__list_node<%s, void *>", 0, NULL, NULL, false, false},
    {"std::__1::__list_node<", "std::__1::__list_node_base<", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"std::__1::__hash_table<", "std::__1::__hash_node_base<", NULL, MS_LINK_NODE, "__node",
     "std::__1::__hash_node<%s, void *>", 0, NULL, NULL, false, false},
    {"std::__1::__hash_node<", "std::__1::__hash_node_base<", NULL, MS_LINK_NODE, NULL, NULL, THE_HOLDER,
     NULL, NULL, false, false},
    {"alloc::vec::Vec<", NULL, NULL, MS_LINK_ARRAY, NULL, NULL, 0, NULL, "len", false, true},
    {"alloc::collections::vec_deque::VecDeque<", NULL, NULL, MS_LINK_ARRAY, NULL, NULL, 0, NULL, NULL, false,
     false},
    {"hashbrown::raw::RawTable<", NULL, NULL, MS_LINK_TABLE, NULL, NULL, 0, NULL, NULL, false, false},
    {"alloc::boxed::Box<[", NULL, "data_ptr", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, NULL, "length", false, true},
    {"&[", NULL, "data_ptr", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, NULL, "length", false, true},
    {"&mut [", NULL, "data_ptr", MS_LINK_ARRAY, NULL, NULL, AS_DECLARED, NULL, "length", false, true},
    {"alloc::boxed::Box<dyn ", NULL, "pointer", MS_LINK_DYN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"alloc::boxed::Box<(dyn ", NULL, "pointer", MS_LINK_DYN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
    {"&dyn ", NULL, "pointer", MS_LINK_DYN, NULL, NULL, AS_DECLARED, NULL, NULL, false, false},
};

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

const struct ms_container_rule *ms_container_rules(const struct ms_type *type, size_t *count)
{
    const size_t all = sizeof rules / sizeof *rules;
    const char first = type->name[0];
    *count = 0;
    if (type->language == MS_LANGUAGE_C || !(first == 's' || first == 'a' || first == 'h' || first == '&'))
        return NULL;
    for (size_t i = 0; i < all; i++) {
        if (!has_prefix(type->name, rules[i].holder))
            continue;
        while (i + *count < all && strcmp(rules[i].holder, rules[i + *count].holder) == 0)
            ++*count;
        return &rules[i];
    }
    return NULL;
}

/* PATTERN with the name of PARAMETER for its %s, as the demangler and as DWARF writes it. */
static const struct ms_type *by_pattern(struct ms_types *types, const char *pattern,
                                        const struct ms_type *parameter)
{
    char *name = NULL;
    const char *place = strstr(pattern, "%s"), *end = parameter->name + strlen(parameter->name);
    /* Before C++11 "> >", since GCC 8 DWARF has it so still. */
    const char *blank = place[2] == '>' && end > parameter->name && end[-1] == '>' ? " " : "";
    if (asprintf(&name, "%.*s%s%s%s", (int)(place - pattern), pattern, parameter->name, blank, place + 2) < 0)
        return NULL;
    const struct ms_type *type = ms_type_named(types, name);
    free(name);
    return type;
}

bool ms_container_concerns(const struct ms_container_rule *rule, const struct ms_type *pointee)
{
    return !rule->pointee || (pointee->kind == MS_TYPE_STRUCT && has_prefix(pointee->name, rule->pointee));
}

const struct ms_type *ms_container_target(struct ms_types *types, const struct ms_container_rule *rule,
                                          const struct ms_type *holder, const struct ms_type *pointee)
{
    if (rule->parameter == AS_DECLARED)
        return pointee;
    if (rule->parameter == THE_HOLDER)
        return holder;
    const struct ms_type *type = rule->nested ? ms_type_nested(types, holder, rule->nested) : NULL;
    if (type && type->kind == MS_TYPE_POINTER && type->target)
        type = type->target;
    if (type && type->kind == MS_TYPE_STRUCT)
        return ms_type_complete(types, type);
    const struct ms_type *parameter = ms_type_parameter(types, holder, NULL, (unsigned)rule->parameter);
    if (parameter && rule->named)
        type = by_pattern(types, rule->named, parameter);
    else
        type = rule->nested ? NULL : parameter;
    return type ? ms_type_complete(types, type) : NULL;
}

const struct ms_type *ms_container_storage(struct ms_types *types, const struct ms_type *type)
{
    static const char *const buffers[] = {"__gnu_cxx::__aligned_membuf<", "__gnu_cxx::__aligned_buffer<"};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (type->language == MS_LANGUAGE_CXX && has_prefix(type->name, buffers[i])) {
            const struct ms_type *value = ms_type_parameter(types, type, NULL, 0);
            value = value ? ms_type_complete(types, value) : NULL;
            return value && value->size <= type->size ? value : NULL;
        }
    return NULL;
}

/* alloc/src/collections/btree/node.rs: InternalNode begins with a LeafNode and adds twelve edges. */
const struct ms_type *ms_container_bigger(struct ms_types *types, const struct ms_type *type)
{
    static const char leaf[] = "alloc::collections::btree::node::LeafNode<";
    if (type->language != MS_LANGUAGE_RUST || !has_prefix(type->name, leaf))
        return NULL;
    char *name = NULL;
    if (asprintf(&name, "alloc::collections::btree::node::InternalNode<%s", type->name + sizeof leaf - 1) < 0)
        return NULL;
    const struct ms_type *inner = ms_type_named(types, name);
    free(name);
    inner = inner ? ms_type_complete(types, inner) : NULL;
    return inner && inner->size > type->size ? inner : NULL;
}
