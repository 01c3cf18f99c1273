/* The two data disks: writing one operation, a trim round, a whole new layout; checking all of it. */
#ifndef SEAWALL_GUEST_DISKS_H
#define SEAWALL_GUEST_DISKS_H
#include "layout.h"

struct disks {
  int fd[DISKS];
  bool block_devices; /* real devices discard and zero by ioctl, image files by fallocate */
};

struct verdict {
  uint64_t seq; /* the highest operation found: possibly cut short by whatever stopped the guest */
  uint32_t generation;
  uint64_t checked, bad; /* blocks */
};

/* All end the program with a message when an input or output error occurs: this guest has nothing better to do. */
void disks_open(struct disks *disks, const char *const paths[DISKS], bool writable, bool block_devices);
void disks_format(const struct disks *disks);
void disks_write(const struct disks *disks, uint64_t seq, uint32_t generation);
void disks_trim(const struct disks *disks, uint32_t round);
struct verdict disks_verify(const struct disks *disks);
void fail(const char *what);
#endif
