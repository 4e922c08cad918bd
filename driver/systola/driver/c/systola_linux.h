/* Systola: a board's accelerator for a program under Linux, through UIO (registers, interrupt) and u-dma-buf (memory). */
#ifndef SYSTOLA_LINUX_H
#define SYSTOLA_LINUX_H

#include "systola_driver.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct systola_linux {
    systola_hooks hooks;      /* what the device uses: cache, unless it is coherent; interrupt, where there is one */
    int wait_milliseconds;    /* that hooks.wait sleeps at most; below 0: without a limit */
    volatile uint8_t *window; /* the mapping that the registers are in */
    volatile uint8_t *memory;
    uint64_t window_bytes;
    uint64_t memory_bytes;
    int uio_file;
    int class_folder; /* the buffer's, in /sys/class */
} systola_linux;

/* Opens UIO device `uio` ("uio0") and buffer `buffer` ("udmabuf0"); `root` holds /dev and /sys, null: the system's. Fills the
 * device: hooks, context, registers, memory. Returns 0; or another number, after it told standard error why. */
int systola_linux_open(systola_linux *board, const char *root, const char *uio, const char *buffer, systola_device *device);

void systola_linux_close(systola_linux *board);

#ifdef __cplusplus
}
#endif

#endif
