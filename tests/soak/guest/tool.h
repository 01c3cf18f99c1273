#ifndef SEAWALL_SOAK_TOOL_H
#define SEAWALL_SOAK_TOOL_H
#include <stdint.h>

int tool_label(const char *path, uint64_t base, uint64_t id);
int tool_judge(const char *path, uint64_t base, const char *boot);
int tool_play(const char *path, uint64_t base, uint64_t operations);
#endif
