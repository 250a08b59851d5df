/* The index of a leak report's list: from groups to their blocks, and from leaders to what they hold. */
#ifndef MS_LEAK_INDEX_H
#define MS_LEAK_INDEX_H

#include "memscope/leaks.h"

/*
 * Makes leaders, held and members of REPORT, whose groups and blocks are in their last order; blocks' leaders
 * are indices of LOST's, their groups and the groups' `first` numbers below GROUPS.
 */
ms_result ms_leak_index(struct ms_leak_report *report, const struct ms_lost *lost, uint32_t groups);

#endif
