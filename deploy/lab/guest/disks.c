#define _GNU_SOURCE
#include "disks.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAD_SHOWN 8
#define FORMAT_SEQ RING_TOTAL /* a new layout is one whole pass, generation 0 */

static uint8_t cell_data[CELL] __attribute__((aligned(4096)));

void disks_open(struct disks *disks, const char *const paths[DISKS], bool writable, bool block_devices) {
  int flags = (writable ? O_RDWR : O_RDONLY) | (block_devices ? O_DIRECT | O_SYNC : 0);
  disks->block_devices = block_devices;
  for (uint32_t disk = 0; disk < DISKS; disk++)
    if ((disks->fd[disk] = open(paths[disk], flags)) < 0) fail(paths[disk]);
}

static void write_cell(const struct disks *disks, uint32_t disk, uint64_t offset, size_t length) {
  if (pwrite(disks->fd[disk], cell_data, length, (off_t)offset) != (ssize_t)length) fail("pwrite");
}

static void read_cell(const struct disks *disks, uint32_t disk, uint64_t offset) {
  if (pread(disks->fd[disk], cell_data, CELL, (off_t)offset) != (ssize_t)CELL) fail("pread");
}

void disks_write(const struct disks *disks, uint64_t seq, uint32_t generation) {
  struct ring_write write = ring_write_of(seq);
  for (uint32_t at = 0; at < write.count; at++)
    build_block(cell_data + at * BLOCK, write.disk, write.cell, write.first + at, seq, generation);
  write_cell(disks, write.disk, ring_offset(write.disk, write.cell, write.first), write.count * BLOCK);
}

static void write_trim_cell(const struct disks *disks, uint32_t disk, uint32_t cell, uint32_t round) {
  for (uint32_t block = 0; block < CELL_BLOCKS; block++)
    build_block(cell_data + block * BLOCK, disk, TRIM_ZONE | cell, block, round, 0);
  write_cell(disks, disk, trim_offset(disk, cell, 0), CELL);
}

static void clear(const struct disks *disks, uint32_t disk, uint64_t offset, uint64_t length, bool discard) {
  uint64_t range[2] = {offset, length};
  int mode = FALLOC_FL_KEEP_SIZE | (discard ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
  int rc = disks->block_devices ? ioctl(disks->fd[disk], discard ? BLKDISCARD : BLKZEROOUT, range)
                                : fallocate(disks->fd[disk], mode, (off_t)offset, (off_t)length);
  if (rc != 0) fail(discard ? "discard" : "zero");
}

void disks_trim(const struct disks *disks, uint32_t round) {
  for (uint32_t disk = 0; disk < DISKS; disk++)
    for (uint32_t cell = 0; cell < TRIM_CELLS; cell++) switch (trim_action_of(cell, round)) {
        case TRIM_DISCARD: clear(disks, disk, trim_offset(disk, cell, 0), CELL, true); break;
        case TRIM_ZERO_MIDDLE:
          clear(disks, disk, trim_offset(disk, cell, TRIM_ZERO_FIRST), TRIM_ZERO_COUNT * BLOCK, false);
          break;
        case TRIM_REWRITE: write_trim_cell(disks, disk, cell, round); break;
        case TRIM_KEEP: break;
      }
}

void disks_format(const struct disks *disks) {
  for (uint64_t seq = 1; seq <= FORMAT_SEQ; seq++) disks_write(disks, seq, 0);
  for (uint32_t disk = 0; disk < DISKS; disk++)
    for (uint32_t cell = 0; cell < TRIM_CELLS; cell++) write_trim_cell(disks, disk, cell, 0);
}

static void find_newest(const struct disks *disks, struct verdict *verdict) {
  struct block_header header;
  for (uint32_t disk = 0; disk < DISKS; disk++)
    for (uint32_t cell = 0; cell < RING_CELLS; cell++) {
      read_cell(disks, disk, ring_offset(disk, cell, 0));
      for (uint32_t block = 0; block < CELL_BLOCKS; block++) {
        if (!read_block(cell_data + block * BLOCK, disk, cell, block, &header) || header.seq < verdict->seq) continue;
        verdict->seq = header.seq;
        verdict->generation = header.generation;
      }
    }
}

static bool same_sector(const uint8_t *data, struct expected expected, uint32_t disk, uint32_t cell, uint32_t block, uint32_t sector) {
  uint8_t wanted[BLOCK] = {0};
  struct block_header header;
  memcpy(&header, data, sizeof header);
  if (!expected.zero) build_block(wanted, disk, cell, block, expected.seq, header.generation);
  return memcmp(data + sector * SECTOR, wanted + sector * SECTOR, SECTOR) == 0;
}

/* `before` and `after` differ only where an operation was under way: each sector may then be either. */
static bool good_block(const uint8_t *data, struct expected before, struct expected after, uint32_t disk, uint32_t cell, uint32_t block) {
  uint8_t wanted[BLOCK] = {0};
  struct block_header header;
  memcpy(&header, data, sizeof header);
  if (!after.zero) build_block(wanted, disk, cell, block, after.seq, header.generation);
  if (memcmp(data, wanted, BLOCK) == 0) return true;
  if (before.zero == after.zero && before.seq == after.seq) return false;
  for (uint32_t sector = 0; sector < BLOCK / SECTOR; sector++)
    if (!same_sector(data, before, disk, cell, block, sector) && !same_sector(data, after, disk, cell, block, sector)) return false;
  return true;
}

static void judge(struct verdict *verdict, const uint8_t *data, struct expected before, struct expected after, uint32_t disk, uint32_t cell,
                  uint32_t block) {
  struct block_header found;
  verdict->checked++;
  if (good_block(data, before, after, disk, cell, block)) return;
  if (verdict->bad++ >= BAD_SHOWN) return;
  bool readable = read_block(data, disk, cell, block, &found);
  printf("SEAWALL-GUEST-BAD disk=vd%c cell=%x block=%u expected=%s%llu found=%s%llu\n", 'a' + (int)disk, cell, block,
         after.zero ? "zero" : "seq-", (unsigned long long)after.seq, readable ? "seq-" : "unreadable",
         readable ? (unsigned long long)found.seq : 0ull);
}

static void verify_ring(const struct disks *disks, struct verdict *verdict, uint32_t disk) {
  for (uint32_t cell = 0; cell < RING_CELLS; cell++) {
    read_cell(disks, disk, ring_offset(disk, cell, 0));
    for (uint32_t block = 0; block < CELL_BLOCKS; block++)
      judge(verdict, cell_data + block * BLOCK, ring_expected(disk, cell, block, verdict->seq - 1),
            ring_expected(disk, cell, block, verdict->seq), disk, cell, block);
  }
}

static void verify_trim(const struct disks *disks, struct verdict *verdict, uint32_t disk) {
  uint32_t before = verdict->generation / 2, after = (verdict->generation + 1) / 2;
  for (uint32_t cell = 0; cell < TRIM_CELLS; cell++) {
    read_cell(disks, disk, trim_offset(disk, cell, 0));
    for (uint32_t block = 0; block < CELL_BLOCKS; block++)
      judge(verdict, cell_data + block * BLOCK, trim_expected(cell, block, before), trim_expected(cell, block, after), disk,
            TRIM_ZONE | cell, block);
  }
}

struct verdict disks_verify(const struct disks *disks) {
  struct verdict verdict = {0};
  find_newest(disks, &verdict);
  if (verdict.seq < FORMAT_SEQ) { /* blank or nearly so: no layout was ever completed here */
    verdict.bad = 1;
    return verdict;
  }
  for (uint32_t disk = 0; disk < DISKS; disk++) {
    verify_ring(disks, &verdict, disk);
    verify_trim(disks, &verdict, disk);
  }
  return verdict;
}
