/* Private to src/analysis: guesses of what objects of a Go heap are. */
#ifndef MEMSCOPE_GOGUESS_H
#define MEMSCOPE_GOGUESS_H

#include "gotyping.h"

/*
 * Types what nothing has typed as a guess, where only one of the types that the program allocates has its size, its
 * pointers where the collector has them, and agrees with what these point to. Knows nothing new where all is typed.
 */
ms_result ms_go_guess(struct ms_go_typing *g);

#endif
