/* What a disk of a soak guest holds, sector for sector: nothing on it is a free choice of whoever writes it.
 *
 * From `base` on (0, or behind the boot file system of a disk that boots): the label, the head, then data. Operation k of a disk follows from
 * the disk's id, k, and how large the disk was at that time, which its label tells. The head tells the newest operation that is done. So the
 * whole disk can be made again from its label and its head, and compared byte for byte: only operation k + 1 may be there in part.
 */
#ifndef SEAWALL_SOAK_DISK_H
#define SEAWALL_SOAK_DISK_H
#include <stdbool.h>
#include <stdint.h>

#define SECTOR 512u
#define LABEL_BYTES 4096u
#define HEAD_AT 4096u /* bytes behind `base` */
#define FIRST_SECTOR 128u /* of the data, counted from `base` */
#define BOOT_BYTES (32ull << 20)
#define MAGIC_LABEL 0x314c424c4b414f53ull
#define MAGIC_HEAD 0x314441484b414f53ull
#define MOST_SIZES 32u
#define MOST_DISKS 16u

struct size_since {
  uint64_t operation, sectors; /* from this operation on, the disk has so many sectors behind `base` */
};

struct label {
  uint64_t magic, id, count;
  struct size_since sizes[MOST_SIZES];
  uint64_t checksum;
};

struct peer {
  uint64_t id, done;
};

/* `global` counts the operations of the guest on all its disks; `peers` is what was done on each of them when this head was written. */
struct head {
  uint64_t magic, id, done, global, count;
  struct peer peers[MOST_DISKS];
  uint64_t checksum;
};

enum kind { WRITE, ZERO, PUNCH };

struct operation {
  enum kind kind;
  uint64_t first, count; /* sectors, counted from `base` */
};

uint64_t mix(uint64_t x);
uint64_t sum_of(const void *data, uint64_t bytes);
uint64_t sectors_at(const struct label *label, uint64_t operation);
struct operation operation_of(const struct label *label, uint64_t number);
void build_sector(uint8_t *out, uint64_t id, uint64_t number, uint64_t sector);
bool good_label(const struct label *label);
bool good_head(const struct head *head, const struct label *label);
void seal_label(struct label *label);
void seal_head(struct head *head);
#endif
