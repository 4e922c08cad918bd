/* Runs one sample on a board below a root: firmware_linux ROOT IMAGE INPUT poll|wait. Prints the codes of the last operand. */
#include <stdio.h>
#include <string.h>

#include "network.h"
#include "systola_linux.h"

static uint8_t image[1 << 20];
static int8_t input[1 << 16], codes[1 << 16];

static size_t load(const char *path, void *data, size_t size) {
    FILE *file = fopen(path, "rb");
    size_t got = 0;
    if (file) {
        got = fread(data, 1, size, file);
        fclose(file);
    }
    return got;
}

static int print(void *context, const systola_device *device, const systola_network *net, uint32_t step) {
    const systola_tensor *operand = net->steps[step].inputs[0];
    uint32_t i;
    (void)context;
    systola_read(device, operand, codes);
    for (i = 0; i < operand->channels; i++) {
        printf("%d ", codes[i]);
    }
    return 0;
}

int main(int argc, char **argv) {
    systola_linux board;
    systola_device device;
    systola_result result;
    if (argc != 5 || load(argv[2], image, sizeof image) != network.image_bytes || !load(argv[3], input, sizeof input)
        || systola_linux_open(&board, argv[1], "uio0", "udmabuf0", &device) != 0) {
        return 100;
    }
    if (!strcmp(argv[4], "poll")) {
        board.hooks.wait = NULL;
    }
    result = systola_open(&device, &network);
    if (result == SYSTOLA_OK) {
        systola_load(&device, &network, image);
        systola_write(&device, network.inputs[0], input);
        result = systola_run(&device, &network, print, NULL, NULL);
    }
    if (result != SYSTOLA_OK) {
        fprintf(stderr, "%s\n", systola_result_text(result));
    }
    systola_linux_close(&board);
    return (int)result;
}
