/* The rules of layout.h: pure functions, no input or output. */
#include "layout.h"

#include <stdio.h>
#include <string.h>

#define MAGIC 0x31304c4c41574153ull /* "SAWALL01" */

static uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

struct ring_write ring_write_of(uint64_t seq) {
  uint64_t step = seq - 1, pass = step / RING_TOTAL;
  uint32_t place = (uint32_t)((step % RING_TOTAL) * RING_STRIDE % RING_TOTAL);
  uint64_t random = mix(seq);
  struct ring_write write = {.disk = place / RING_CELLS, .cell = place % RING_CELLS, .first = 0, .count = CELL_BLOCKS};
  if (pass % 3 != 0) { /* every third pass writes whole cells, which bounds how far back a verifier must look */
    write.count = 1 + (uint32_t)(random % CELL_BLOCKS);
    write.first = (uint32_t)((random >> 32) % (CELL_BLOCKS - write.count + 1));
  }
  return write;
}

/* The step of the pass in which a ring place is visited: the inverse of the stride. */
static uint64_t step_of(uint32_t disk, uint32_t cell) {
  static uint64_t inverse;
  while (inverse * RING_STRIDE % RING_TOTAL != 1) inverse++;
  return ((uint64_t)disk * RING_CELLS + cell) * inverse % RING_TOTAL;
}

struct expected ring_expected(uint32_t disk, uint32_t cell, uint32_t block, uint64_t done) {
  uint64_t seq = step_of(disk, cell) + 1;
  if (done < seq) return (struct expected){.zero = true};
  seq += (done - seq) / RING_TOTAL * RING_TOTAL;
  for (;; seq -= RING_TOTAL) {
    struct ring_write write = ring_write_of(seq);
    if (block - write.first < write.count) return (struct expected){.seq = seq};
  }
}

enum trim_action trim_action_of(uint32_t cell, uint32_t round) { return (enum trim_action)((cell + round) % 4); }

struct expected trim_expected(uint32_t cell, uint32_t block, uint32_t round) {
  for (; round > 0; round--) {
    enum trim_action action = trim_action_of(cell, round);
    if (action == TRIM_DISCARD) return (struct expected){.zero = true};
    if (action == TRIM_ZERO_MIDDLE && block - TRIM_ZERO_FIRST < TRIM_ZERO_COUNT) return (struct expected){.zero = true};
    if (action == TRIM_REWRITE) break;
  }
  return (struct expected){.seq = round};
}

static uint64_t data_offset(uint32_t disk) { return disk == 0 ? VDA_DATA_OFFSET : 0; }

uint64_t ring_offset(uint32_t disk, uint32_t cell, uint32_t block) {
  return data_offset(disk) + (uint64_t)cell * CELL + (uint64_t)block * BLOCK;
}

uint64_t trim_offset(uint32_t disk, uint32_t cell, uint32_t block) { return ring_offset(disk, RING_CELLS + cell, block); }

static uint64_t checksum_of(const uint8_t *data) {
  uint64_t sum = MAGIC, word;
  for (size_t at = 0; at < BLOCK; at += 8) {
    memcpy(&word, data + at, 8);
    if (at == offsetof(struct block_header, checksum)) word = 0;
    sum = (sum ^ word) * 0x100000001b3ull;
    sum ^= sum >> 29;
  }
  return sum;
}

void build_block(uint8_t *out, uint32_t disk, uint32_t cell, uint32_t block, uint64_t seq, uint32_t generation) {
  uint64_t state = mix(seq ^ mix(((uint64_t)disk << 56) ^ ((uint64_t)cell << 16) ^ block)) | 1;
  struct block_header header = {MAGIC, seq, disk, cell, block, generation, 0};
  if (state >> 62 == 0) { /* a quarter of all blocks compresses well, like text does */
    char line[64];
    int length = snprintf(line, sizeof line, "disk %u cell %08x block %u sequence %llu\n", disk, cell, block, (unsigned long long)seq);
    for (size_t at = sizeof header; at < BLOCK; at++) out[at] = (uint8_t)line[(at - sizeof header) % (size_t)length];
  } else {
    for (size_t at = sizeof header; at < BLOCK; at += 8) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      memcpy(out + at, &state, 8);
    }
  }
  memcpy(out, &header, sizeof header);
  header.checksum = checksum_of(out);
  memcpy(out, &header, sizeof header);
}

bool read_block(const uint8_t *data, uint32_t disk, uint32_t cell, uint32_t block, struct block_header *header) {
  memcpy(header, data, sizeof *header);
  return header->magic == MAGIC && header->disk == disk && header->cell == cell && header->block == block &&
         header->checksum == checksum_of(data);
}
