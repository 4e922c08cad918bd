/* Systola: a driver for firmware. Freestanding C99, and C++: no library, no allocation, no variables of its own.
 *
 * Fill a systola_device; then systola_open and systola_load once, and for each sample systola_write, systola_run and
 * systola_read. The network is in network.h, which `systola compile` writes beside image.bin. */
#ifndef SYSTOLA_DRIVER_H
#define SYSTOLA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "systola.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What functions return; systola_result_text says each in words. */
typedef enum systola_result {
    SYSTOLA_OK = 0,
    SYSTOLA_RUNNING,           /* systola_poll: the program has not ended yet */
    SYSTOLA_ERROR_IDENTITY,    /* the identity register does not read "SYST" */
    SYSTOLA_ERROR_ISA_VERSION, /* the accelerator, this driver and the network speak different instruction sets */
    SYSTOLA_ERROR_FINGERPRINT, /* the network was compiled for another accelerator */
    SYSTOLA_ERROR_ALIGNMENT,   /* memory_address is no multiple of the network's alignment_bytes */
    SYSTOLA_ERROR_ADDRESS,     /* the memory ends above what the accelerator's address bits reach */
    SYSTOLA_ERROR_MEMORY_SIZE, /* memory_bytes is less than the network's */
    SYSTOLA_ERROR_BUSY,        /* a program is running */
    SYSTOLA_ERROR_HOST_STEP,   /* the network has a step for the processor and no function was given, or it failed */
    SYSTOLA_ERROR_TIMEOUT,     /* the program did not end in time; it still runs */
    SYSTOLA_ERROR_FAULT        /* the accelerator stopped: systola_read_fault says why */
} systola_result;

/* A tensor in memory, as planes of words of `lanes` bytes: a word is a pixel's next `lanes` channels. Codes are int8 (those of
 * a network with unsigned codes are these plus 128); the real value of a code is (code - zero_point) * scale. */
typedef struct systola_tensor {
    const char *name;
    uint32_t address; /* bytes from the start of the memory */
    uint32_t bytes;   /* in memory, unused lanes included */
    uint32_t channels;
    uint32_t height;
    uint32_t width;
    uint32_t lanes;
    uint32_t channels_last; /* 0: the network's order is channel, row, column; 1: pixel, channel */
    int32_t zero_point;
    float scale;
} systola_tensor;

/* How the processor writes a convolution's windows as channels: the output's channel (ky * kernel_x + kx) * channels + c at row y,
 * column x is the input's channel c at row y * stride_y + ky * dilation_y - pad_top, and its column likewise; outside it is pad. */
typedef struct systola_windows {
    uint32_t kernel_y, kernel_x;
    uint32_t stride_y, stride_x;
    uint32_t dilation_y, dilation_x;
    uint32_t pad_top, pad_left;
    int32_t pad; /* code */
} systola_windows;

/* A program of the accelerator; or, where `host` is not null, an operation for the processor. A null among its inputs or
 * outputs is a tensor that is not in memory. Where `windows` is not null, the driver does the operation itself. */
typedef struct systola_step {
    uint32_t stream_address[SYSTOLA_ENGINES]; /* bytes from the start of the memory */
    uint32_t stream_bytes[SYSTOLA_ENGINES];
    const char *host;
    const systola_windows *windows;
    const systola_tensor *const *inputs;
    const systola_tensor *const *outputs;
    uint32_t input_count;
    uint32_t output_count;
} systola_step;

typedef struct systola_network {
    const char *name;
    const char *accelerator;
    uint32_t isa_version;
    uint32_t fingerprint;     /* of the accelerator */
    uint32_t alignment_bytes; /* of the memory's bus address */
    uint32_t address_bits;    /* of the accelerator's bus */
    uint32_t memory_bytes;    /* that the network needs */
    uint32_t image_bytes;     /* size of image.bin: the first of them */
    const systola_step *steps;
    const systola_tensor *const *inputs; /* those that lie in memory */
    const systola_tensor *const *outputs;
    uint32_t step_count;
    uint32_t input_count;
    uint32_t output_count;
} systola_network;

/* What differs from board to board. A null function is not needed there. `context` is the device's. */
typedef struct systola_hooks {
    /* Registers, by byte address. Null: a volatile access through the device's `registers`. */
    uint32_t (*read_register)(void *context, uint32_t address);
    void (*write_register)(void *context, uint32_t address, uint32_t value);
    /* Write the processor's cached copy of these bytes to memory. */
    void (*flush)(void *context, volatile uint8_t *first, size_t bytes);
    /* Forget the processor's cached copy of these bytes, which it has not changed. */
    void (*invalidate)(void *context, volatile uint8_t *first, size_t bytes);
    /* Sleep until the interrupt, or for a while; not 0: it is too late. Null: STATUS is read again and again. */
    int (*wait)(void *context);
} systola_hooks;

typedef struct systola_device {
    volatile uint32_t *registers; /* the AXI4-Lite window */
    volatile uint8_t *memory;     /* the buffer, where the processor sees it */
    uint64_t memory_address;      /* the buffer, where the accelerator sees it */
    uint64_t memory_bytes;
    uint32_t watchdog_cycles; /* cycles without a finished instruction that stop a program; 0: never */
    uint32_t poll_limit;      /* reads of STATUS, or returns from hooks->wait, until SYSTOLA_ERROR_TIMEOUT; 0: no limit */
    const systola_hooks *hooks; /* null: none is needed */
    void *context;
} systola_device;

/* Why a program stopped. */
typedef struct systola_stop {
    uint32_t fault;   /* enum systola_fault */
    uint32_t engine;  /* enum systola_engine; others: the fetch of instructions, or none */
    uint64_t address; /* bus address; of SYSTOLA_FAULT_ILLEGAL_INSTRUCTION the byte in the engine's stream */
} systola_stop;

/* The counters of the last program. */
typedef struct systola_counters {
    uint64_t cycles;
    uint32_t classes[SYSTOLA_ENGINES][SYSTOLA_CYCLE_CLASSES]; /* by enum systola_engine, enum systola_cycle_class */
    uint32_t events[SYSTOLA_EVENTS];                          /* by enum systola_event */
} systola_counters;

/* Computes a step for the processor: 0 if it did. Reads and writes tensors with systola_read and systola_write. */
typedef int (*systola_host)(void *context, const systola_device *device, const systola_network *network, uint32_t step);

/* Called after each program of systola_run, before the next one clears the counters. */
typedef void (*systola_after)(void *context, const systola_device *device, uint32_t step);

/* Is this the accelerator that the network was compiled for, and will the memory do? Then it is told where the memory is, and its
 * interrupt is enabled. */
systola_result systola_open(const systola_device *device, const systola_network *network);

/* Puts the image (image.bin) into memory and clears the rest of what the network needs. A null image is there already. */
void systola_load(const systola_device *device, const systola_network *network, const uint8_t *image);

/* A tensor's codes, channels * height * width of them in the network's order. */
void systola_write(const systola_device *device, const systola_tensor *tensor, const int8_t *codes);
void systola_read(const systola_device *device, const systola_tensor *tensor, int8_t *codes);

/* Runs every step; `host` those for the processor that the driver does not do itself. `host` and `after` may be null; `context` is
 * for them. */
systola_result systola_run(
    const systola_device *device, const systola_network *network, systola_host host, systola_after after, void *context);

/* The parts of systola_run, for firmware that does something else meanwhile. systola_poll returns SYSTOLA_RUNNING, SYSTOLA_OK or
 * SYSTOLA_ERROR_FAULT; systola_wait polls, or sleeps in hooks->wait, until it is not SYSTOLA_RUNNING. */
systola_result systola_start(const systola_device *device, const systola_step *step);
systola_result systola_poll(const systola_device *device);
systola_result systola_wait(const systola_device *device);

/* For the interrupt's handler: quiets the interrupt; returns the SYSTOLA_IRQ bits that were pending. */
uint32_t systola_acknowledge(const systola_device *device);

/* Stops the program as a fault would (SYSTOLA_FAULT_STOPPED); it has ended when systola_poll says so. */
void systola_halt(const systola_device *device);

void systola_read_counters(const systola_device *device, systola_counters *counters);
void systola_read_fault(const systola_device *device, systola_stop *stop);

const char *systola_result_text(systola_result result);
const char *systola_fault_text(uint32_t fault);

#ifdef __cplusplus
}
#endif

#endif
