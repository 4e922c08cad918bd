#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* flock */
#endif

#include "systola_bridge.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "systola_mailbox.h"

#define SPINS 2000u           /* looks at the answer before the first sleep */
#define SLEEP_NANOSECONDS 50000
#define SLEEPS_PER_CHECK 2000u /* of whether the server still lives */
#define PATH_BYTES 4096u

static int refuse(const char *folder, const char *why) {
    fprintf(stderr, "systola bridge %s: %s\n", folder, why);
    return -1;
}

/* The server holds the lock of the mailbox while it lives. */
static int served(const systola_bridge *bridge) {
    if (flock(bridge->mailbox_file, LOCK_SH | LOCK_NB) == 0) {
        flock(bridge->mailbox_file, LOCK_UN);
        return 0;
    }
    return 1;
}

/* Asks the server; ends the program where it fails, as a bus error would on a processor. */
static uint32_t ask(systola_bridge *bridge, uint32_t operation) {
    const struct timespec pause = {0, SLEEP_NANOSECONDS};
    volatile uint32_t *words = bridge->words;
    const uint32_t request = words[SYSTOLA_MAILBOX_WORD_REQUEST] + 1u;
    uint32_t looks;
    words[SYSTOLA_MAILBOX_WORD_OPERATION] = operation;
    __atomic_store_n(&words[SYSTOLA_MAILBOX_WORD_REQUEST], request, __ATOMIC_RELEASE);
    for (looks = 0; __atomic_load_n(&words[SYSTOLA_MAILBOX_WORD_ANSWER], __ATOMIC_ACQUIRE) != request; looks++) {
        if (looks >= SPINS) {
            nanosleep(&pause, NULL);
        }
        if (looks % SLEEPS_PER_CHECK == SLEEPS_PER_CHECK - 1u && !served(bridge)) {
            fprintf(stderr, "systola bridge: its server ended\n");
            exit(EXIT_FAILURE);
        }
    }
    if (words[SYSTOLA_MAILBOX_WORD_OUTCOME] == SYSTOLA_MAILBOX_OUTCOME_FAILED) {
        fprintf(stderr, "systola bridge: %s\n", (const char *)(uintptr_t)(words + SYSTOLA_MAILBOX_TEXT_OFFSET / 4u));
        exit(EXIT_FAILURE);
    }
    return words[SYSTOLA_MAILBOX_WORD_OUTCOME];
}

static uint32_t read_register(void *context, uint32_t address) {
    systola_bridge *bridge = (systola_bridge *)context;
    bridge->words[SYSTOLA_MAILBOX_WORD_ADDRESS] = address;
    ask(bridge, SYSTOLA_MAILBOX_OPERATION_READ);
    return bridge->words[SYSTOLA_MAILBOX_WORD_VALUE];
}

static void write_register(void *context, uint32_t address, uint32_t value) {
    systola_bridge *bridge = (systola_bridge *)context;
    bridge->words[SYSTOLA_MAILBOX_WORD_ADDRESS] = address;
    bridge->words[SYSTOLA_MAILBOX_WORD_VALUE] = value;
    ask(bridge, SYSTOLA_MAILBOX_OPERATION_WRITE);
}

static int wait_interrupt(void *context) {
    systola_bridge *bridge = (systola_bridge *)context;
    bridge->words[SYSTOLA_MAILBOX_WORD_CYCLES_LOW] = (uint32_t)(bridge->wait_cycles & 0xffffffffu);
    bridge->words[SYSTOLA_MAILBOX_WORD_CYCLES_HIGH] = (uint32_t)(bridge->wait_cycles >> 32);
    return ask(bridge, SYSTOLA_MAILBOX_OPERATION_WAIT) == SYSTOLA_MAILBOX_OUTCOME_LATE;
}

static const systola_hooks hooks = {read_register, write_register, NULL, NULL, wait_interrupt};

static int open_in(const char *folder, const char *name) {
    char path[PATH_BYTES];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof path ? open(path, O_RDWR) : -1;
}

static void *map(int file, size_t bytes) {
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

static uint64_t wide(volatile uint32_t *words, uint32_t low) {
    return words[low] | (uint64_t)words[low + 1u] << 32;
}

static int connect_files(systola_bridge *bridge, const char *folder, int memory_file) {
    void *words;
    void *memory;
    if (bridge->mailbox_file < 0 || bridge->client_file < 0 || memory_file < 0) {
        return refuse(folder, "no bridge is there: start one with `systola bridge -o` and this folder");
    }
    if (!served(bridge)) {
        return refuse(folder, "nobody serves it any more: start it again");
    }
    if (flock(bridge->client_file, LOCK_EX | LOCK_NB) != 0) {
        return refuse(folder, "another program uses it");
    }
    words = map(bridge->mailbox_file, SYSTOLA_MAILBOX_BYTES);
    if (words == MAP_FAILED) {
        return refuse(folder, "its mailbox cannot be mapped");
    }
    bridge->words = (volatile uint32_t *)words;
    if (bridge->words[SYSTOLA_MAILBOX_WORD_MAGIC] != SYSTOLA_MAILBOX_MAGIC
        || bridge->words[SYSTOLA_MAILBOX_WORD_VERSION] != SYSTOLA_MAILBOX_VERSION) {
        return refuse(folder, "it is of another version of Systola: compile this program with the files of that one");
    }
    bridge->memory_bytes = wide(bridge->words, SYSTOLA_MAILBOX_WORD_MEMORY_BYTES_LOW);
    memory = map(memory_file, (size_t)bridge->memory_bytes);
    if (memory == MAP_FAILED) {
        return refuse(folder, "its memory cannot be mapped");
    }
    bridge->memory = (volatile uint8_t *)memory;
    return 0;
}

int systola_bridge_open(systola_bridge *bridge, const char *folder, systola_device *device) {
    const char *named = folder ? folder : getenv("SYSTOLA_BRIDGE");
    int memory_file, result;
    memset(bridge, 0, sizeof *bridge);
    memset(device, 0, sizeof *device);
    bridge->mailbox_file = bridge->client_file = -1;
    if (!named) {
        return refuse("", "no folder was given, and SYSTOLA_BRIDGE is not set");
    }
    bridge->mailbox_file = open_in(named, "mailbox");
    bridge->client_file = open_in(named, "client");
    memory_file = open_in(named, "memory");
    result = connect_files(bridge, named, memory_file);
    if (memory_file >= 0) {
        close(memory_file);
    }
    if (result) {
        systola_bridge_close(bridge);
        return result;
    }
    device->hooks = &hooks;
    device->context = bridge;
    device->memory = bridge->memory;
    device->memory_bytes = bridge->memory_bytes;
    device->memory_address = wide(bridge->words, SYSTOLA_MAILBOX_WORD_MEMORY_ADDRESS_LOW);
    return 0;
}

void systola_bridge_close(systola_bridge *bridge) {
    if (bridge->memory) {
        munmap((void *)(uintptr_t)bridge->memory, (size_t)bridge->memory_bytes);
    }
    if (bridge->words) {
        munmap((void *)(uintptr_t)bridge->words, SYSTOLA_MAILBOX_BYTES);
    }
    if (bridge->client_file >= 0) {
        close(bridge->client_file); /* and its lock is free */
    }
    if (bridge->mailbox_file >= 0) {
        close(bridge->mailbox_file);
    }
    memset(bridge, 0, sizeof *bridge);
    bridge->mailbox_file = bridge->client_file = -1;
}
