/* What lies where on the guest's two disks, and what every block must hold.
 *
 * Both disks have a data area: vda behind its boot file system, vdb from byte 0. A data area is RING_CELLS cells that the writer goes round in,
 * followed by TRIM_CELLS cells that are discarded, zeroed and rewritten in rounds. Nothing on the disks is a free choice of the writer:
 * the content of each block follows from the highest sequence number found there, so a verifier can tell a stale or mixed block from a good one.
 */
#ifndef SEAWALL_GUEST_LAYOUT_H
#define SEAWALL_GUEST_LAYOUT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR 512u
#define BLOCK 4096u
#define CELL_BLOCKS 16u
#define CELL (BLOCK * CELL_BLOCKS)
#define DISKS 2u
#define RING_CELLS 768u /* 48 MiB a disk */
#define TRIM_CELLS 128u /* 8 MiB a disk */
#define RING_TOTAL ((uint64_t)RING_CELLS * DISKS)
#define RING_STRIDE 599u /* prime to RING_TOTAL: a pass visits every cell once, scattered over both disks */
#define VDA_DATA_OFFSET (32ull << 20)
#define TRIM_ZONE 0x80000000u /* set in the cell number of a trim cell */

/* One operation of the ring: blocks first..first+count-1 of one cell, written with one request. */
struct ring_write {
  uint32_t disk, cell, first, count;
};

/* What a block must hold: zeroes, or the content of version `seq`. */
struct expected {
  bool zero;
  uint64_t seq;
};

struct block_header {
  uint64_t magic;
  uint64_t seq;
  uint32_t disk, cell, block;
  uint32_t generation; /* how far the trim rounds were when this was written; two per round */
  uint64_t checksum;   /* of the whole block with this field 0 */
};

enum trim_action { TRIM_DISCARD, TRIM_ZERO_MIDDLE, TRIM_REWRITE, TRIM_KEEP };
#define TRIM_ZERO_FIRST 4u /* a zeroed cell loses these blocks only: less than a qcow2 cluster */
#define TRIM_ZERO_COUNT 8u

struct ring_write ring_write_of(uint64_t seq);
struct expected ring_expected(uint32_t disk, uint32_t cell, uint32_t block, uint64_t done);
enum trim_action trim_action_of(uint32_t cell, uint32_t round);
struct expected trim_expected(uint32_t cell, uint32_t block, uint32_t round);

uint64_t ring_offset(uint32_t disk, uint32_t cell, uint32_t block);
uint64_t trim_offset(uint32_t disk, uint32_t cell, uint32_t block);

void build_block(uint8_t *out, uint32_t disk, uint32_t cell, uint32_t block, uint64_t seq, uint32_t generation);
/* True when the block carries our magic, its own address and a right checksum. */
bool read_block(const uint8_t *data, uint32_t disk, uint32_t cell, uint32_t block, struct block_header *header);
#endif
