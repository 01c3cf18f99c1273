#ifndef SEAWALL_SOAK_PERFORM_H
#define SEAWALL_SOAK_PERFORM_H
#include "disk.h"

/* One disk that is written to: a block device of a guest, or a raw file here. */
struct disk {
  int fd;
  bool device;
  char name[16];
  uint64_t base;
  struct label label;
  struct head head;
};

/* 0, or errno. A second try does the same again. */
int perform(const struct disk *disk, uint64_t number);
/* `head.done` is counted up and written, with what was done on all disks. 0, or errno. */
int finish(struct disk *disk, uint64_t global, const struct disk *all, unsigned count);
int write_label(struct disk *disk);
/* Looks for a label at 0, then behind a boot file system. False: this is no disk of ours. */
bool read_front(struct disk *disk);
#endif
