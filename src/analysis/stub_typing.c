/* Stub of typing, only to link with. */
#include "memscope/typing.h"
#include <stdlib.h>
const char *const ms_evidence_names[MS_EVIDENCES] = {"nothing","guess","pointer","container","vtable"};
ms_result ms_typing_new(struct ms_scan *scan, const struct ms_image *image, struct ms_symbols *symbols,
 struct ms_types *types, enum ms_typing_scope scope, struct ms_typing **typing)
{ (void)scan;(void)image;(void)symbols;(void)types;(void)scope; *typing=NULL; return NULL; }
void ms_typing_free(struct ms_typing *t){(void)t;}
struct ms_block_type ms_block_type(const struct ms_typing *t, uint64_t s){(void)t;(void)s;return (struct ms_block_type){0};}
const char *ms_block_type_text(struct ms_typing *t, const struct ms_block_type *w){(void)t;(void)w;return NULL;}
