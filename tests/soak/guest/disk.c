/* The rules of disk.h: pure functions. */
#include "disk.h"

#include <string.h>

#define LONGEST 128u
#define LONGEST_HOLE 1024u
#define TAIL 64u
#define QUARTERS 4u
#define WHILE 512u /* operations */

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint64_t sum_of(const void *data, uint64_t bytes) {
  const uint8_t *at = data;
  uint64_t sum = bytes;
  for (uint64_t i = 0; i < bytes; i++) sum = (sum ^ at[i]) * 0x100000001b3ull;
  return sum;
}

uint64_t sectors_at(const struct label *label, uint64_t operation) {
  uint64_t sectors = label->sizes[0].sectors;
  for (uint64_t at = 1; at < label->count; at++)
    if (label->sizes[at].operation <= operation) sectors = label->sizes[at].sectors;
  return sectors;
}

/* Mostly writes of up to 64 KiB, sector by sector; zeroes and holes, half of them in whole clusters; now and then the disk's very end. For a
 * while all of them go to one quarter of the disk, so that large parts of it stay as they are from one backup to the next; and in one such
 * while of four nothing is written but zeroes and holes. */
struct operation operation_of(const struct label *label, uint64_t number) {
  uint64_t sectors = sectors_at(label, number), dice = mix(label->id ^ mix(number)), more = mix(dice);
  uint64_t span = (sectors - FIRST_SECTOR) / QUARTERS, quarter = mix(label->id ^ mix(number / WHILE + 77)) % QUARTERS;
  unsigned face = dice % 32;
  bool emptying = mix(label->id ^ mix(number / WHILE + 99)) % 4 == 0;
  struct operation made = {.kind = emptying ? (face % 2 ? ZERO : PUNCH) : face < 22 ? WRITE : face < 26 ? ZERO : face < 30 ? PUNCH : WRITE};
  if (face >= 30 && quarter == QUARTERS - 1) {
    made.count = 1 + (dice >> 8) % TAIL;
    made.first = sectors - made.count;
    return made;
  }
  made.count = 1 + (dice >> 8) % (made.kind == WRITE ? LONGEST : LONGEST_HOLE);
  made.first = FIRST_SECTOR + quarter * span + more % (span - made.count + 1);
  if (dice >> 63) { /* whole clusters, as far as there are any */
    made.first -= made.first % LONGEST;
    made.count = made.kind == WRITE ? LONGEST : (made.count + LONGEST - 1) / LONGEST * LONGEST;
    if (made.first + made.count > sectors) made.count = sectors - made.first;
  }
  return made;
}

void build_sector(uint8_t *out, uint64_t id, uint64_t number, uint64_t sector) {
  uint64_t state = mix(id ^ mix(number) ^ mix(sector * 2 + 1)) | 1, word = state;
  bool plain = mix(id ^ number) % 4 == 0; /* a quarter of all writes compresses well */
  for (unsigned at = 0; at < SECTOR; at += 8) {
    memcpy(out + at, &word, 8);
    if (plain) continue;
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
  }
}

bool good_label(const struct label *label) {
  return label->magic == MAGIC_LABEL && label->count >= 1 && label->count <= MOST_SIZES &&
         label->checksum == sum_of(label, sizeof *label - 8);
}

bool good_head(const struct head *head, const struct label *label) {
  return head->magic == MAGIC_HEAD && head->id == label->id && head->count <= MOST_DISKS && head->checksum == sum_of(head, sizeof *head - 8);
}

void seal_label(struct label *label) { label->checksum = sum_of(label, sizeof *label - 8); }

void seal_head(struct head *head) { head->checksum = sum_of(head, sizeof *head - 8); }
