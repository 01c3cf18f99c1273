/* On the machine that tests: `soak label RAW BASE ID` makes a disk's label, `soak play RAW BASE N` does its next N operations, `soak judge RAW
 * BASE [BOOT]` compares each byte with what must be there.
 *
 * Linked with guest.c into one program. judge says one line on standard output:
 *   SOAK-JUDGED wrong=BYTES first=OFFSET id=HEX done=K global=G bytes=LENGTH peers=HEX:K,...
 * `wrong` counts wrong bytes; first is the offset of the first one, -1 for none. A disk without a readable label or head is wrong as a whole.
 */
#define _GNU_SOURCE
#include "tool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "perform.h"

#define NOTHING 0ull /* never written, or zeroed */

static void die(const char *what) {
  perror(what);
  exit(2);
}

int tool_label(const char *path, uint64_t base, uint64_t id) {
  struct stat found;
  uint8_t block[2 * LABEL_BYTES] = {0};
  int fd = open(path, O_RDWR);
  if (fd < 0 || fstat(fd, &found) != 0) die(path);
  struct label label = {.magic = MAGIC_LABEL, .id = id, .count = 1, .sizes = {{1, ((uint64_t)found.st_size - base) / SECTOR}}};
  struct head head = {.magic = MAGIC_HEAD, .id = id};
  seal_label(&label);
  seal_head(&head);
  memcpy(block, &label, sizeof label);
  memcpy(block + HEAD_AT, &head, sizeof head);
  if (pwrite(fd, block, sizeof block, (off_t)base) != sizeof block) die(path);
  return close(fd);
}

struct judging {
  const uint8_t *data; /* from `base` on */
  uint64_t bytes, base, wrong;
  int64_t first;
};

static void count_wrong(struct judging *judging, const uint8_t *found, const uint8_t *wanted, uint64_t at, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++)
    if (found[i] != wanted[i]) {
      if (judging->wrong++ == 0) judging->first = (int64_t)(at + i);
    }
}

/* The newest operation of each sector up to `done`; NOTHING where it was zeroed since. */
static uint64_t *newest_of(const struct label *label, uint64_t done, uint64_t sectors) {
  uint64_t *newest = calloc(sectors, sizeof *newest);
  if (!newest) die("memory");
  for (uint64_t number = 1; number <= done; number++) {
    struct operation made = operation_of(label, number);
    for (uint64_t at = made.first; at < made.first + made.count && at < sectors; at++)
      newest[at] = made.kind == WRITE ? number : NOTHING;
  }
  return newest;
}

static void expect(uint8_t *out, uint64_t id, uint64_t number, uint64_t sector) {
  memset(out, 0, SECTOR);
  if (number != NOTHING) build_sector(out, id, number, sector);
}

static void judge_data(struct judging *judging, const struct label *label, uint64_t done) {
  uint64_t sectors = judging->bytes / SECTOR, *newest = newest_of(label, done, sectors);
  struct operation next = operation_of(label, done + 1);
  uint8_t wanted[SECTOR], partly[SECTOR];
  for (uint64_t at = FIRST_SECTOR; at < sectors; at++) {
    const uint8_t *found = judging->data + at * SECTOR;
    expect(wanted, label->id, newest[at], at);
    if (memcmp(found, wanted, SECTOR) == 0) continue;
    expect(partly, label->id, next.kind == WRITE ? done + 1 : NOTHING, at);
    bool under_way = at >= next.first && at < next.first + next.count;
    if (!under_way || memcmp(found, partly, SECTOR) != 0) count_wrong(judging, found, wanted, judging->base + at * SECTOR, SECTOR);
  }
  free(newest);
}

static void judge_front(struct judging *judging, const struct label *label, const struct head *head) {
  static uint8_t wanted[FIRST_SECTOR * SECTOR];
  memcpy(wanted, label, sizeof *label);
  memcpy(wanted + HEAD_AT, head, sizeof *head);
  count_wrong(judging, judging->data, wanted, judging->base, sizeof wanted);
}

static void judge_boot(struct judging *judging, const uint8_t *all, const char *boot) {
  uint8_t *wanted = calloc(1, judging->base);
  int fd = open(boot, O_RDONLY);
  if (fd < 0 || !wanted) die(boot);
  for (uint64_t got = 0; got < judging->base;) {
    ssize_t more = pread(fd, wanted + got, judging->base - got, (off_t)got);
    if (more < 0) die(boot);
    if (more == 0) break; /* shorter: zeroes */
    got += (uint64_t)more;
  }
  close(fd);
  count_wrong(judging, all, wanted, 0, judging->base);
  free(wanted);
}

static int say(const struct judging *judging, const struct label *label, const struct head *head) {
  printf("SOAK-JUDGED wrong=%llu first=%lld id=%llx done=%llu global=%llu bytes=%llu peers=", (unsigned long long)judging->wrong,
         (long long)judging->first, (unsigned long long)label->id, (unsigned long long)head->done, (unsigned long long)head->global,
         (unsigned long long)(judging->base + judging->bytes));
  for (uint64_t at = 0; at < head->count; at++)
    printf("%s%llx:%llu", at ? "," : "", (unsigned long long)head->peers[at].id, (unsigned long long)head->peers[at].done);
  printf("\n");
  return judging->wrong != 0;
}

int tool_judge(const char *path, uint64_t base, const char *boot) {
  struct stat found;
  struct label label = {0};
  struct head head = {0};
  int fd = open(path, O_RDONLY);
  if (fd < 0 || fstat(fd, &found) != 0) die(path);
  uint64_t length = (uint64_t)found.st_size;
  if (length < base + FIRST_SECTOR * SECTOR) {
    struct judging nothing = {.wrong = length + 1, .bytes = length};
    return say(&nothing, &label, &head);
  }
  const uint8_t *all = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
  if (all == MAP_FAILED) die("mmap");
  struct judging judging = {.data = all + base, .bytes = length - base, .base = base, .first = -1};
  memcpy(&label, all + base, sizeof label);
  memcpy(&head, all + base + HEAD_AT, sizeof head);
  if (!good_label(&label) || !good_head(&head, &label) || sectors_at(&label, UINT64_MAX) > judging.bytes / SECTOR) {
    judging.wrong = length;
    judging.first = (int64_t)base;
    return say(&judging, &label, &head);
  }
  judge_front(&judging, &label, &head);
  judge_data(&judging, &label, head.done);
  if (boot) judge_boot(&judging, all, boot);
  return say(&judging, &label, &head);
}

int tool_play(const char *path, uint64_t base, uint64_t operations) {
  struct disk disk = {.fd = open(path, O_RDWR)};
  if (disk.fd < 0) die(path);
  if (!read_front(&disk) || disk.base != base) return 2;
  struct stat found;
  if (fstat(disk.fd, &found) != 0) die(path);
  uint64_t sectors = ((uint64_t)found.st_size - base) / SECTOR;
  if (sectors > sectors_at(&disk.label, UINT64_MAX)) { /* it has grown since */
    disk.label.sizes[disk.label.count++] = (struct size_since){disk.head.done + 1, sectors};
    seal_label(&disk.label);
    if (write_label(&disk) != 0) die(path);
  }
  for (uint64_t at = 0; at < operations; at++)
    if (perform(&disk, disk.head.done + 1) != 0 || finish(&disk, disk.head.global + 1, &disk, 1) != 0) die(path);
  return close(disk.fd);
}
