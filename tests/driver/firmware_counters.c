/* Runs one sample behind a bridge and prints every counter, program by program: firmware_counters IMAGE INPUT. */
#include <stdio.h>

#include "network.h"
#include "systola_bridge.h"

static uint8_t image[1 << 20];
static int8_t input[1 << 16];

static size_t load(const char *path, void *data, size_t size) {
    FILE *file = fopen(path, "rb");
    size_t got = 0;
    if (file) {
        got = fread(data, 1, size, file);
        fclose(file);
    }
    return got;
}

static int skip(void *context, const systola_device *device, const systola_network *net, uint32_t step) {
    (void)context;
    (void)device;
    (void)net;
    (void)step;
    return 0;
}

static void print(void *context, const systola_device *device, uint32_t step) {
    systola_counters counters;
    uint32_t engine, i;
    (void)context;
    (void)step;
    systola_read_counters(device, &counters);
    printf("%llu", (unsigned long long)counters.cycles);
    for (engine = 0; engine < SYSTOLA_ENGINES; engine++) {
        for (i = 0; i < SYSTOLA_CYCLE_CLASSES; i++) {
            printf(" %u", (unsigned)counters.classes[engine][i]);
        }
    }
    for (i = 0; i < SYSTOLA_EVENTS; i++) {
        printf(" %u", (unsigned)counters.events[i]);
    }
    printf("\n");
}

int main(int argc, char **argv) {
    systola_bridge bridge;
    systola_device device;
    systola_result result;
    if (argc != 3 || load(argv[1], image, sizeof image) != network.image_bytes || !load(argv[2], input, sizeof input)
        || systola_bridge_open(&bridge, NULL, &device) != 0) {
        return 100;
    }
    result = systola_open(&device, &network);
    if (result == SYSTOLA_OK) {
        systola_load(&device, &network, image);
        systola_write(&device, network.inputs[0], input);
        result = systola_run(&device, &network, skip, print, NULL);
    }
    if (result == SYSTOLA_OK) { /* once more: too early to end */
        bridge.wait_cycles = 100;
        result = systola_start(&device, &network.steps[1]);
        if (result == SYSTOLA_OK && systola_wait(&device) == SYSTOLA_ERROR_TIMEOUT) {
            printf("late\n");
        }
    }
    systola_bridge_close(&bridge);
    return (int)result;
}
