/* A small guest agent: the commands by which libvirt freezes and thaws a guest, spoken over the virtio channel org.qemu.guest_agent.0.
 *
 * "Frozen" stops the writer between two operations, as a frozen file system stops its users.
 */
#ifndef SEAWALL_GUEST_AGENT_H
#define SEAWALL_GUEST_AGENT_H
#include <stdbool.h>

/* The channel, or -1 when this VM has none. */
int agent_open(void);
/* Answer what has arrived; never blocks. True when something had. */
bool agent_answer(int fd, bool *frozen);
#endif
