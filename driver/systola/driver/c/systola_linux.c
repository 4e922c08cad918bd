#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* openat and the like, with -std=c99 */
#endif

#include "systola_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW_BYTES 4096u
#define PATH_BYTES 4096u
#define NUMBER_BYTES 32u
#define WAIT_MILLISECONDS 60000
#define TO_DEVICE 1u /* of sync_direction */
#define FROM_DEVICE 2u

static int refuse(const char *what, const char *why) {
    fprintf(stderr, "systola: %s: %s\n", what, why);
    return -1;
}

static int open_path(const char *root, const char *folder, const char *name, int flags) {
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags);
}

/* An attribute that is a number, decimal or 0x…; 0 if it was read. */
static int read_number(int folder, const char *name, uint64_t *number) {
    char text[NUMBER_BYTES];
    char *end = text;
    const int file = openat(folder, name, O_RDONLY);
    const ssize_t got = file < 0 ? -1 : read(file, text, sizeof text - 1u);
    if (file >= 0) {
        close(file);
    }
    if (got > 0) {
        text[got] = 0;
        *number = strtoull(text, &end, 0);
    }
    return end == text;
}

static int write_number(int folder, const char *name, uint64_t number) {
    char text[NUMBER_BYTES];
    const int length = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    const int file = openat(folder, name, O_WRONLY);
    const ssize_t put = file < 0 ? -1 : write(file, text, (size_t)length);
    if (file >= 0) {
        close(file);
    }
    return put != length;
}

/* Hands a range to the accelerator or back; without that, results would be wrong: so the program ends. */
static void synchronize(systola_linux *board, volatile uint8_t *first, size_t bytes, uint64_t direction, const char *how) {
    if (write_number(board->class_folder, "sync_offset", (uint64_t)(first - board->memory))
        || write_number(board->class_folder, "sync_size", bytes)
        || write_number(board->class_folder, "sync_direction", direction) || write_number(board->class_folder, how, 1)) {
        fprintf(stderr, "systola: the buffer's cache cannot be controlled: %s cannot be written: %s\n", how, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

static void flush(void *context, volatile uint8_t *first, size_t bytes) {
    synchronize((systola_linux *)context, first, bytes, TO_DEVICE, "sync_for_device");
}

static void invalidate(void *context, volatile uint8_t *first, size_t bytes) {
    synchronize((systola_linux *)context, first, bytes, FROM_DEVICE, "sync_for_cpu");
}

/* A write of 1 lets the next interrupt through; a read takes it. */
static int enable(const systola_linux *board) {
    const uint32_t on = 1;
    return write(board->uio_file, &on, sizeof on) != (ssize_t)sizeof on;
}

static int wait_interrupt(void *context) {
    systola_linux *board = (systola_linux *)context;
    struct pollfd file = {board->uio_file, POLLIN, 0};
    uint32_t count;
    return enable(board) || poll(&file, 1, board->wait_milliseconds) != 1
           || read(board->uio_file, &count, sizeof count) != (ssize_t)sizeof count;
}

static volatile uint8_t *map(int file, uint64_t bytes) {
    void *place = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return place == MAP_FAILED ? NULL : (volatile uint8_t *)place;
}

static int open_registers(systola_linux *board, const char *root, const char *uio, systola_device *device) {
    uint64_t size = 0, offset = 0;
    int folder = open_path(root, "sys/class/uio", uio, O_RDONLY | O_DIRECTORY);
    const int known = folder >= 0 && !read_number(folder, "maps/map0/size", &size);
    if (known) {
        read_number(folder, "maps/map0/offset", &offset);
    }
    if (folder >= 0) {
        close(folder);
    }
    if (!known) {
        return refuse(uio, "there is no such UIO device");
    }
    if (size < WINDOW_BYTES) {
        return refuse(uio, "its register window is smaller than an accelerator's");
    }
    board->uio_file = open_path(root, "dev", uio, O_RDWR);
    if (board->uio_file < 0) {
        return refuse(uio, strerror(errno));
    }
    board->window_bytes = offset + size;
    board->window = map(board->uio_file, board->window_bytes);
    if (!board->window) {
        return refuse(uio, "its registers cannot be mapped");
    }
    device->registers = (volatile uint32_t *)(board->window + offset);
    board->hooks.wait = enable(board) ? NULL : wait_interrupt; /* it fails where there is no interrupt: then STATUS is polled */
    return 0;
}

static int open_buffer(systola_linux *board, const char *root, const char *buffer, systola_device *device) {
    static const char *const classes[] = {"sys/class/u-dma-buf", "sys/class/udmabuf"}; /* since version 2, and before */
    uint64_t coherent = 0;
    int file;
    size_t i;
    for (i = 0; i < sizeof classes / sizeof *classes && board->class_folder < 0; i++) {
        board->class_folder = open_path(root, classes[i], buffer, O_RDONLY | O_DIRECTORY);
    }
    if (board->class_folder < 0 || read_number(board->class_folder, "phys_addr", &device->memory_address)
        || read_number(board->class_folder, "size", &board->memory_bytes)) {
        return refuse(buffer, "there is no such u-dma-buf buffer");
    }
    file = open_path(root, "dev", buffer, O_RDWR);
    if (file < 0) {
        return refuse(buffer, strerror(errno));
    }
    board->memory = map(file, board->memory_bytes);
    close(file);
    if (!board->memory) {
        return refuse(buffer, "it cannot be mapped");
    }
    device->memory = board->memory;
    device->memory_bytes = board->memory_bytes;
    read_number(board->class_folder, "dma_coherent", &coherent);
    if (!coherent) {
        board->hooks.flush = flush;
        board->hooks.invalidate = invalidate;
    }
    return 0;
}

int systola_linux_open(systola_linux *board, const char *root, const char *uio, const char *buffer, systola_device *device) {
    memset(board, 0, sizeof *board);
    memset(device, 0, sizeof *device);
    board->uio_file = board->class_folder = -1;
    board->wait_milliseconds = WAIT_MILLISECONDS;
    device->hooks = &board->hooks;
    device->context = board;
    if (open_registers(board, root ? root : "", uio, device) || open_buffer(board, root ? root : "", buffer, device)) {
        systola_linux_close(board);
        return -1;
    }
    return 0;
}

void systola_linux_close(systola_linux *board) {
    if (board->memory) {
        munmap((void *)(uintptr_t)board->memory, (size_t)board->memory_bytes);
    }
    if (board->window) {
        munmap((void *)(uintptr_t)board->window, (size_t)board->window_bytes);
    }
    if (board->uio_file >= 0) {
        close(board->uio_file);
    }
    if (board->class_folder >= 0) {
        close(board->class_folder);
    }
    memset(board, 0, sizeof *board);
    board->uio_file = board->class_folder = -1;
}
