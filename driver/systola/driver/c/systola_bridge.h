/* Systola: the registers, memory and interrupt of a simulated accelerator, for a program on the same computer.
 *
 * `systola bridge -o DIR` serves one. POSIX; firmware for a board does not need this. */
#ifndef SYSTOLA_BRIDGE_H
#define SYSTOLA_BRIDGE_H

#include "systola_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct systola_bridge {
    volatile uint32_t *words; /* the mailbox */
    volatile uint8_t *memory;
    uint64_t memory_bytes;
    uint64_t wait_cycles; /* that hooks->wait lets pass without an interrupt; 0: no limit */
    int mailbox_file;
    int client_file;
} systola_bridge;

/* Opens the bridge in a folder; null: the one that the environment's SYSTOLA_BRIDGE names. Fills the device: hooks, context,
 * memory. Returns 0; or another number, after it told standard error why. */
int systola_bridge_open(systola_bridge *bridge, const char *folder, systola_device *device);

void systola_bridge_close(systola_bridge *bridge);

#ifdef __cplusplus
}
#endif

#endif
