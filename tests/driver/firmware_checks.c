/* The C driver against registers and a cache made of arrays: what it refuses, and in which order it does things. */
#include <stdio.h>
#include <string.h>

#include "network.h"

#define CHECK(condition) \
    if (!(condition)) { \
        printf("line %d: %s\n", __LINE__, #condition); \
        failures++; \
    }
#define STATUS board.registers[SYSTOLA_REG_STATUS / 4u]

static int failures;

/* The accelerator writes `dram`; the processor sees it through `cache`. */
static struct {
    uint32_t registers[1024];
    uint8_t cache[65536], dram[65536];
    char log[256];
    uint32_t looks, ends_after, end;
} board;

static void note(const char *what) {
    if (strlen(board.log) + strlen(what) + 1u < sizeof board.log) {
        strcat(board.log, what);
    }
}

static uint32_t read_register(void *context, uint32_t address) {
    (void)context;
    if (address == SYSTOLA_REG_STATUS && STATUS & SYSTOLA_STATUS_BUSY && ++board.looks > board.ends_after) {
        STATUS = board.end;
        board.registers[SYSTOLA_REG_IRQ_STATUS / 4u] = 1;
    }
    return board.registers[address / 4u];
}

static void write_register(void *context, uint32_t address, uint32_t value) {
    (void)context;
    if (address == SYSTOLA_REG_CONTROL) {
        note(value == SYSTOLA_CONTROL_START ? "start " : "stop ");
        STATUS = SYSTOLA_STATUS_BUSY;
        board.looks = 0;
    } else if (address == SYSTOLA_REG_IRQ_STATUS) {
        board.registers[address / 4u] &= ~value;
    } else {
        board.registers[address / 4u] = value;
    }
}

static void flush(void *context, volatile uint8_t *first, size_t bytes) {
    const size_t offset = (size_t)(first - (volatile uint8_t *)board.cache);
    (void)context;
    note("flush ");
    memcpy(board.dram + offset, board.cache + offset, bytes);
}

static void invalidate(void *context, volatile uint8_t *first, size_t bytes) {
    const size_t offset = (size_t)(first - (volatile uint8_t *)board.cache);
    (void)context;
    note("invalidate ");
    memcpy(board.cache + offset, board.dram + offset, bytes);
}

static int late(void *context) {
    (void)context;
    note("sleep ");
    return 1;
}

static const systola_hooks polling = {read_register, write_register, flush, invalidate, NULL};
static const systola_hooks sleeping = {read_register, write_register, flush, invalidate, late};

static systola_device fresh(void) {
    systola_device device = {NULL, board.cache, 0x10000000u, sizeof board.cache, 1000u, 10u, &polling, NULL};
    memset(&board, 0, sizeof board);
    board.registers[SYSTOLA_REG_IDENTITY / 4u] = SYSTOLA_IDENTITY;
    board.registers[SYSTOLA_REG_ISA_VERSION / 4u] = SYSTOLA_ISA_VERSION;
    board.registers[SYSTOLA_REG_FINGERPRINT / 4u] = network.fingerprint;
    board.ends_after = 2;
    board.end = SYSTOLA_STATUS_DONE;
    return device;
}

static void check_open(void) {
    systola_device device = fresh();
    systola_network other = network;
    CHECK(systola_open(&device, &network) == SYSTOLA_OK);
    CHECK(board.registers[SYSTOLA_REG_DRAM_BASE_LOW / 4u] == 0x10000000u);
    CHECK(board.registers[SYSTOLA_REG_WATCHDOG_CYCLES / 4u] == 1000u);
    CHECK(board.registers[SYSTOLA_REG_IRQ_ENABLE / 4u] == (SYSTOLA_IRQ_DONE | SYSTOLA_IRQ_FAULT));
    other.address_bits = 40u;
    device.memory_address = 0x3400000000u;
    CHECK(systola_open(&device, &other) == SYSTOLA_OK);
    CHECK(board.registers[SYSTOLA_REG_DRAM_BASE_HIGH / 4u] == 0x34u);
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_ADDRESS);
    other.address_bits = 64u;
    device.memory_address = 0xffffffffffffff00u;
    CHECK(systola_open(&device, &other) == SYSTOLA_ERROR_ADDRESS);
    device.memory_address = 0x10000000u + network.alignment_bytes / 2u;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_ALIGNMENT);
    device.memory_bytes = network.memory_bytes - 1u;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_MEMORY_SIZE);
    board.registers[SYSTOLA_REG_FINGERPRINT / 4u]++;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_FINGERPRINT);
    other.isa_version++;
    CHECK(systola_open(&device, &other) == SYSTOLA_ERROR_ISA_VERSION);
    board.registers[SYSTOLA_REG_ISA_VERSION / 4u]++;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_ISA_VERSION);
    board.registers[SYSTOLA_REG_IDENTITY / 4u] = 0xdeadbeefu;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_IDENTITY);
    device = fresh();
    STATUS = SYSTOLA_STATUS_BUSY;
    board.ends_after = 100;
    CHECK(systola_open(&device, &network) == SYSTOLA_ERROR_BUSY);
    CHECK(systola_start(&device, &network.steps[1]) == SYSTOLA_ERROR_BUSY);
}

static int refuse(void *context, const systola_device *device, const systola_network *net, uint32_t step) {
    (void)device;
    (void)net;
    *(uint32_t *)context = step;
    return 1;
}

static void check_run(void) {
    systola_device device = fresh();
    systola_stop stop;
    uint32_t step = 0;
    CHECK(systola_poll(&device) == SYSTOLA_RUNNING); /* nothing was started */
    CHECK(systola_run(&device, &network, NULL, NULL, NULL) == SYSTOLA_ERROR_HOST_STEP); /* softmax, after the program */
    CHECK(!strcmp(board.log, "invalidate invalidate flush start "));
    CHECK(board.registers[SYSTOLA_REG_STREAM_BYTES_STORE / 4u] == network.steps[1].stream_bytes[SYSTOLA_ENGINE_STORE]);
    CHECK(systola_run(&device, &network, refuse, NULL, &step) == SYSTOLA_ERROR_HOST_STEP && step == 2u);
    CHECK(!board.registers[SYSTOLA_REG_IRQ_STATUS / 4u]); /* acknowledged */
    board.ends_after = 10;
    CHECK(systola_run(&device, &network, refuse, NULL, &step) == SYSTOLA_ERROR_TIMEOUT);
    CHECK(systola_wait(&device) == SYSTOLA_OK); /* it ended after all */
    device.hooks = &sleeping;
    board.log[0] = 0;
    CHECK(systola_start(&device, &network.steps[1]) == SYSTOLA_OK);
    CHECK(systola_wait(&device) == SYSTOLA_ERROR_TIMEOUT && !strcmp(board.log, "start sleep "));
    systola_halt(&device);
    CHECK(!strcmp(board.log, "start sleep stop "));
    device = fresh();
    board.end = SYSTOLA_STATUS_FAULT | (uint32_t)SYSTOLA_FAULT_READ_RESPONSE << SYSTOLA_STATUS_FAULT_SHIFT;
    board.registers[SYSTOLA_REG_FAULT_ENGINE / 4u] = SYSTOLA_ENGINE_LOAD;
    board.registers[SYSTOLA_REG_FAULT_ADDRESS_LOW / 4u] = 0x40u;
    board.registers[SYSTOLA_REG_FAULT_ADDRESS_HIGH / 4u] = 1u;
    CHECK(systola_run(&device, &network, refuse, NULL, &step) == SYSTOLA_ERROR_FAULT);
    systola_read_fault(&device, &stop);
    CHECK(stop.fault == SYSTOLA_FAULT_READ_RESPONSE && stop.engine == SYSTOLA_ENGINE_LOAD && stop.address == 0x100000040u);
    CHECK(strstr(systola_fault_text(stop.fault), "read") != NULL);
    CHECK(strstr(systola_result_text(SYSTOLA_ERROR_FINGERPRINT), "another accelerator") != NULL);
    CHECK(systola_fault_text(99u) && systola_result_text((systola_result)99));
}

static void check_tensors(void) {
    systola_device device = fresh();
    const systola_tensor *input = network.inputs[0], *packed = network.steps[0].outputs[0];
    int8_t codes[64], back[64];
    uint8_t image[65536];
    int i;
    memset(board.cache, 0xa5, sizeof board.cache);
    memset(image, 0x3c, sizeof image);
    systola_load(&device, &network, image);
    CHECK(board.dram[network.image_bytes - 1u] == 0x3c && board.cache[network.memory_bytes] == 0xa5);
    for (i = 0; i < 64; i++) {
        codes[i] = (int8_t)(i - 32);
    }
    systola_write(&device, input, codes);
    for (i = 0; i < 64; i++) {
        CHECK(board.dram[input->address + 4u * (uint32_t)i] == (uint8_t)(i - 32)); /* lanes beside it are zero */
        CHECK(!board.dram[input->address + 4u * (uint32_t)i + 1u]);
    }
    board.dram[input->address] = 0x80; /* as the accelerator would */
    systola_read(&device, input, back);
    CHECK(back[0] == -128 && !memcmp(back + 1, codes + 1, 63));
    systola_run(&device, &network, NULL, NULL, NULL);
    /* Of pixel 0, kernel position 4 (the middle) is the pixel itself; position 0 is outside. */
    CHECK(board.dram[packed->address + 64u * 4u] == 0x80);
    CHECK(board.dram[packed->address] == (uint8_t)input->zero_point);
}

int main(void) {
    check_open();
    check_run();
    check_tensors();
    return failures != 0;
}
