/* Carries out what disk.h says, on whatever holds the disk. All of it is on the disk when a call returns. */
#define _GNU_SOURCE
#include "perform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MOST_BYTES (1u << 20)

static uint8_t buffer[MOST_BYTES] __attribute__((aligned(4096)));

static int write_at(const struct disk *disk, uint64_t offset, uint64_t bytes) {
  ssize_t done = pwrite(disk->fd, buffer, bytes, (off_t)(disk->base + offset));
  if (done == (ssize_t)bytes) return 0;
  return done < 0 ? errno : EIO;
}

static int clear(const struct disk *disk, const struct operation *made) {
  uint64_t range[2] = {disk->base + made->first * SECTOR, made->count * SECTOR};
  int mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
  bool punched = made->kind == PUNCH || !disk->device;
  int failed = punched ? fallocate(disk->fd, mode, (off_t)range[0], (off_t)range[1]) : ioctl(disk->fd, BLKZEROOUT, range);
  if (failed && punched && errno == EOPNOTSUPP && disk->device) failed = ioctl(disk->fd, BLKZEROOUT, range);
  if (failed || fdatasync(disk->fd) != 0) return errno;
  return 0;
}

int perform(const struct disk *disk, uint64_t number) {
  struct operation made = operation_of(&disk->label, number);
  if (made.kind != WRITE) return clear(disk, &made);
  for (uint64_t at = 0; at < made.count; at++) build_sector(buffer + at * SECTOR, disk->label.id, number, made.first + at);
  return write_at(disk, made.first * SECTOR, made.count * SECTOR);
}

int finish(struct disk *disk, uint64_t global, const struct disk *all, unsigned count) {
  struct head next = {.magic = MAGIC_HEAD, .id = disk->label.id, .done = disk->head.done + 1, .global = global, .count = count};
  for (unsigned at = 0; at < count; at++)
    next.peers[at] = (struct peer){all[at].label.id, &all[at] == disk ? next.done : all[at].head.done};
  seal_head(&next);
  memset(buffer, 0, LABEL_BYTES);
  memcpy(buffer, &next, sizeof next);
  int failed = write_at(disk, HEAD_AT, LABEL_BYTES);
  if (!failed) disk->head = next;
  return failed;
}

int write_label(struct disk *disk) {
  memset(buffer, 0, LABEL_BYTES);
  memcpy(buffer, &disk->label, sizeof disk->label);
  return write_at(disk, 0, LABEL_BYTES);
}

bool read_front(struct disk *disk) {
  for (disk->base = 0;; disk->base = BOOT_BYTES) {
    if (pread(disk->fd, buffer, 2 * LABEL_BYTES, (off_t)disk->base) != 2 * LABEL_BYTES) return false;
    memcpy(&disk->label, buffer, sizeof disk->label);
    memcpy(&disk->head, buffer + HEAD_AT, sizeof disk->head);
    if (good_label(&disk->label)) return good_head(&disk->head, &disk->label);
    if (disk->base == BOOT_BYTES) return false;
  }
}
