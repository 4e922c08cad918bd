/* A program that runs a network on a Systola accelerator: on a board under Linux, or behind a bridge that SYSTOLA_BRIDGE names.
 *
 *     main IMAGE INPUT OUTPUT [UIO BUFFER]
 *
 * UIO and BUFFER are the board's, such as uio0 and udmabuf0. IMAGE is image.bin. INPUT holds the input's int8 codes, sample after sample. To OUTPUT go, for each sample, the codes of the
 * network's outputs; what is computed in float, such as softmax, is left away, and its operand written instead. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "network.h"
#include "systola_bridge.h"
#include "systola_linux.h"

static uint8_t *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size;
    if (file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        *bytes = (size_t)size;
        data = (uint8_t *)malloc(*bytes + 1u);
        if (data && fread(data, 1, *bytes, file) != *bytes) {
            free(data);
            data = NULL;
        }
    }
    if (file) {
        fclose(file);
    }
    return data;
}

static size_t codes_of(const systola_tensor *tensor) {
    return (size_t)tensor->channels * tensor->height * tensor->width;
}

static void write_codes(FILE *file, const systola_device *device, const systola_tensor *tensor) {
    int8_t *codes = (int8_t *)malloc(codes_of(tensor));
    if (codes) {
        systola_read(device, tensor, codes);
        fwrite(codes, 1, codes_of(tensor), file);
        free(codes);
    }
}

typedef struct results {
    FILE *file;
    int written;
} results;

/* An operation for the processor whose result does not go back to the accelerator: its first operand is the result. */
static int on_processor(void *context, const systola_device *device, const systola_network *net, uint32_t step) {
    results *output = (results *)context;
    const systola_step *operation = &net->steps[step];
    if (step + 1u < net->step_count || !operation->input_count || !operation->inputs[0]) {
        fprintf(stderr, "this program does not compute '%s'\n", operation->host);
        return 1;
    }
    write_codes(output->file, device, operation->inputs[0]);
    output->written = 1;
    return 0;
}

static int run(const systola_device *device, const int8_t *codes, FILE *file) {
    results output = {NULL, 0};
    systola_counters counters;
    systola_result result;
    uint32_t i;
    output.file = file;
    systola_write(device, network.inputs[0], codes);
    result = systola_run(device, &network, on_processor, NULL, &output);
    if (result != SYSTOLA_OK) {
        systola_stop stop;
        fprintf(stderr, "%s\n", systola_result_text(result));
        if (result == SYSTOLA_ERROR_FAULT) {
            systola_read_fault(device, &stop);
            fprintf(stderr, "%s (engine %u, address %#llx)\n", systola_fault_text(stop.fault), (unsigned)stop.engine,
                    (unsigned long long)stop.address);
        }
        return 1;
    }
    for (i = 0; i < network.output_count && !output.written; i++) {
        write_codes(file, device, network.outputs[i]);
    }
    systola_read_counters(device, &counters);
    printf("%llu cycles, %u of them with a pixel in the array\n", (unsigned long long)counters.cycles,
           (unsigned)counters.classes[SYSTOLA_ENGINE_ARRAY][SYSTOLA_CYCLE_CLASS_BUSY]);
    return 0;
}

int main(int argc, char **argv) {
    systola_bridge bridge;
    systola_linux board;
    systola_device device;
    systola_result result;
    size_t image_bytes = 0, input_bytes = 0, first;
    uint8_t *image, *input;
    FILE *output;
    int failed = 0;
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: %s IMAGE INPUT OUTPUT [UIO BUFFER]\n", argv[0]);
        return 2;
    }
    image = read_file(argv[1], &image_bytes);
    input = read_file(argv[2], &input_bytes);
    output = fopen(argv[3], "wb");
    if (!image || !input || !output || image_bytes != network.image_bytes || input_bytes % codes_of(network.inputs[0])) {
        fprintf(stderr, "a file cannot be read or written, or has not the size that the network needs\n");
        return 2;
    }
    if (argc == 6 ? systola_linux_open(&board, NULL, argv[4], argv[5], &device) : systola_bridge_open(&bridge, NULL, &device)) {
        return 1;
    }
    device.watchdog_cycles = 1000000;
    result = systola_open(&device, &network);
    if (result != SYSTOLA_OK) {
        fprintf(stderr, "%s\n", systola_result_text(result));
        return 1;
    }
    systola_load(&device, &network, image);
    for (first = 0; first < input_bytes && !failed; first += codes_of(network.inputs[0])) {
        failed = run(&device, (const int8_t *)input + first, output);
    }
    if (argc == 6) {
        systola_linux_close(&board);
    } else {
        systola_bridge_close(&bridge);
    }
    free(input);
    free(image);
    return fclose(output) != 0 || failed;
}
