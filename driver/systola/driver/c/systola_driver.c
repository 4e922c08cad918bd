#include "systola_driver.h"

/* Orders what the processor wrote to memory before the register that starts the accelerator. A board whose bus needs more has it
 * in hooks->flush, or defines this. */
#ifndef SYSTOLA_BARRIER
#if defined(__GNUC__)
#define SYSTOLA_BARRIER() __sync_synchronize()
#else
#define SYSTOLA_BARRIER() ((void)0)
#endif
#endif

#define STEP_REGISTER(name) (SYSTOLA_REG_##name##_ARRAY - SYSTOLA_REG_##name##_LOAD)
#define STREAM_REGISTER(name, engine) (SYSTOLA_REG_##name##_LOAD + (engine) * STEP_REGISTER(name))
#define IRQ_BITS (SYSTOLA_IRQ_DONE | SYSTOLA_IRQ_FAULT)

static uint32_t get(const systola_device *device, uint32_t address) {
    if (device->hooks && device->hooks->read_register) {
        return device->hooks->read_register(device->context, address);
    }
    return device->registers[address / 4u];
}

static void put(const systola_device *device, uint32_t address, uint32_t value) {
    if (device->hooks && device->hooks->write_register) {
        device->hooks->write_register(device->context, address, value);
    } else {
        device->registers[address / 4u] = value;
    }
}

static void flush(const systola_device *device, uint32_t first, uint32_t bytes) {
    if (device->hooks && device->hooks->flush && bytes) {
        device->hooks->flush(device->context, device->memory + first, bytes);
    }
}

static void invalidate(const systola_device *device, uint32_t first, uint32_t bytes) {
    if (device->hooks && device->hooks->invalidate && bytes) {
        device->hooks->invalidate(device->context, device->memory + first, bytes);
    }
}

static systola_result check_memory(const systola_device *device, const systola_network *network) {
    const uint64_t first = device->memory_address;
    const uint64_t last = first + network->memory_bytes - 1u;
    if (device->memory_bytes < network->memory_bytes) {
        return SYSTOLA_ERROR_MEMORY_SIZE;
    }
    if (first % network->alignment_bytes) {
        return SYSTOLA_ERROR_ALIGNMENT;
    }
    if (last < first || (network->address_bits < 64u && last >> network->address_bits)) {
        return SYSTOLA_ERROR_ADDRESS;
    }
    return SYSTOLA_OK;
}

systola_result systola_open(const systola_device *device, const systola_network *network) {
    systola_result result;
    if (get(device, SYSTOLA_REG_IDENTITY) != SYSTOLA_IDENTITY) {
        return SYSTOLA_ERROR_IDENTITY;
    }
    if (get(device, SYSTOLA_REG_ISA_VERSION) != SYSTOLA_ISA_VERSION || network->isa_version != SYSTOLA_ISA_VERSION) {
        return SYSTOLA_ERROR_ISA_VERSION;
    }
    if (get(device, SYSTOLA_REG_FINGERPRINT) != network->fingerprint) {
        return SYSTOLA_ERROR_FINGERPRINT;
    }
    result = check_memory(device, network);
    if (result != SYSTOLA_OK) {
        return result;
    }
    if (get(device, SYSTOLA_REG_STATUS) & SYSTOLA_STATUS_BUSY) {
        return SYSTOLA_ERROR_BUSY;
    }
    put(device, SYSTOLA_REG_IRQ_STATUS, IRQ_BITS);
    put(device, SYSTOLA_REG_IRQ_ENABLE, IRQ_BITS);
    put(device, SYSTOLA_REG_DRAM_BASE_LOW, (uint32_t)(device->memory_address & 0xffffffffu));
    put(device, SYSTOLA_REG_DRAM_BASE_HIGH, (uint32_t)(device->memory_address >> 32));
    put(device, SYSTOLA_REG_WATCHDOG_CYCLES, device->watchdog_cycles);
    return SYSTOLA_OK;
}

void systola_load(const systola_device *device, const systola_network *network, const uint8_t *image) {
    uint32_t i;
    if (image) {
        for (i = 0; i < network->image_bytes; i++) {
            device->memory[i] = image[i];
        }
    }
    for (i = network->image_bytes; i < network->memory_bytes; i++) {
        device->memory[i] = 0;
    }
    flush(device, 0, network->memory_bytes);
}

/* The place of a channel of a pixel in memory, and in the network's order. */
static size_t place(const systola_tensor *t, uint32_t channel, uint32_t pixel) {
    const size_t word = (size_t)(channel / t->lanes) * t->height * t->width + pixel;
    return t->address + word * t->lanes + channel % t->lanes;
}

static size_t order(const systola_tensor *t, uint32_t channel, uint32_t pixel) {
    return t->channels_last ? (size_t)pixel * t->channels + channel : (size_t)channel * t->height * t->width + pixel;
}

void systola_write(const systola_device *device, const systola_tensor *tensor, const int8_t *codes) {
    const uint32_t pixels = tensor->height * tensor->width;
    const uint32_t padded = (tensor->channels + tensor->lanes - 1u) / tensor->lanes * tensor->lanes;
    uint32_t channel, pixel;
    /* What lies beside a part of a concatenation may be in the same cache line, and the accelerator may have changed it. */
    invalidate(device, tensor->address, tensor->bytes);
    for (channel = 0; channel < padded; channel++) {
        for (pixel = 0; pixel < pixels; pixel++) {
            device->memory[place(tensor, channel, pixel)] =
                channel < tensor->channels ? (uint8_t)codes[order(tensor, channel, pixel)] : (uint8_t)0;
        }
    }
    flush(device, tensor->address, tensor->bytes);
}

void systola_read(const systola_device *device, const systola_tensor *tensor, int8_t *codes) {
    const uint32_t pixels = tensor->height * tensor->width;
    uint32_t channel, pixel;
    invalidate(device, tensor->address, tensor->bytes);
    for (channel = 0; channel < tensor->channels; channel++) {
        for (pixel = 0; pixel < pixels; pixel++) {
            const int code = device->memory[place(tensor, channel, pixel)];
            codes[order(tensor, channel, pixel)] = (int8_t)(code < 128 ? code : code - 256);
        }
    }
}

/* Byte by byte, memory to memory; the accelerator waits meanwhile. */
static void write_windows(
    const systola_device *device, const systola_windows *w, const systola_tensor *input, const systola_tensor *output) {
    const uint32_t padded = (output->channels + output->lanes - 1u) / output->lanes * output->lanes;
    uint32_t channel, x, y;
    invalidate(device, input->address, input->bytes);
    invalidate(device, output->address, output->bytes);
    for (channel = 0; channel < padded; channel++) {
        const uint32_t position = channel / input->channels;
        /* Unsigned: what is left of or above the input is far beyond its width or height. */
        const uint32_t first_y = position / w->kernel_x * w->dilation_y - w->pad_top;
        const uint32_t first_x = position % w->kernel_x * w->dilation_x - w->pad_left;
        for (y = 0; y < output->height; y++) {
            for (x = 0; x < output->width; x++) {
                const uint32_t row = first_y + y * w->stride_y, column = first_x + x * w->stride_x;
                uint8_t code = (uint8_t)w->pad;
                if (channel >= output->channels) {
                    code = 0;
                } else if (row < input->height && column < input->width) {
                    code = device->memory[place(input, channel % input->channels, row * input->width + column)];
                }
                device->memory[place(output, channel, y * output->width + x)] = code;
            }
        }
    }
    flush(device, output->address, output->bytes);
}

systola_result systola_start(const systola_device *device, const systola_step *step) {
    uint32_t engine;
    if (get(device, SYSTOLA_REG_STATUS) & SYSTOLA_STATUS_BUSY) {
        return SYSTOLA_ERROR_BUSY;
    }
    for (engine = 0; engine < SYSTOLA_ENGINES; engine++) {
        put(device, STREAM_REGISTER(STREAM_ADDRESS, engine), step->stream_address[engine]);
        put(device, STREAM_REGISTER(STREAM_BYTES, engine), step->stream_bytes[engine]);
    }
    SYSTOLA_BARRIER();
    put(device, SYSTOLA_REG_CONTROL, SYSTOLA_CONTROL_START);
    return SYSTOLA_OK;
}

uint32_t systola_acknowledge(const systola_device *device) {
    const uint32_t pending = get(device, SYSTOLA_REG_IRQ_STATUS);
    put(device, SYSTOLA_REG_IRQ_STATUS, pending);
    return pending;
}

systola_result systola_poll(const systola_device *device) {
    const uint32_t status = get(device, SYSTOLA_REG_STATUS);
    if (status & SYSTOLA_STATUS_BUSY || !(status & (SYSTOLA_STATUS_DONE | SYSTOLA_STATUS_FAULT))) {
        return SYSTOLA_RUNNING;
    }
    systola_acknowledge(device);
    return status & SYSTOLA_STATUS_FAULT ? SYSTOLA_ERROR_FAULT : SYSTOLA_OK;
}

systola_result systola_wait(const systola_device *device) {
    uint32_t polls = 0;
    for (;;) {
        const int late = device->hooks && device->hooks->wait ? device->hooks->wait(device->context) : 0;
        const systola_result result = systola_poll(device);
        if (result != SYSTOLA_RUNNING) {
            return result;
        }
        polls++;
        if (late || (device->poll_limit && polls >= device->poll_limit)) {
            return SYSTOLA_ERROR_TIMEOUT;
        }
    }
}

systola_result systola_run(
    const systola_device *device, const systola_network *network, systola_host host, systola_after after, void *context) {
    uint32_t i;
    for (i = 0; i < network->step_count; i++) {
        const systola_step *step = &network->steps[i];
        systola_result result = SYSTOLA_OK;
        if (step->windows) {
            write_windows(device, step->windows, step->inputs[0], step->outputs[0]);
        } else if (step->host) {
            result = host && !host(context, device, network, i) ? SYSTOLA_OK : SYSTOLA_ERROR_HOST_STEP;
        } else {
            result = systola_start(device, step);
            if (result == SYSTOLA_OK) {
                result = systola_wait(device);
            }
            if (result == SYSTOLA_OK && after) {
                after(context, device, i);
            }
        }
        if (result != SYSTOLA_OK) {
            return result;
        }
    }
    return SYSTOLA_OK;
}

void systola_halt(const systola_device *device) {
    put(device, SYSTOLA_REG_CONTROL, SYSTOLA_CONTROL_STOP);
}

void systola_read_counters(const systola_device *device, systola_counters *counters) {
    uint32_t engine, i;
    counters->cycles = get(device, SYSTOLA_REG_CYCLES_LOW);
    counters->cycles |= (uint64_t)get(device, SYSTOLA_REG_CYCLES_HIGH) << 32;
    for (engine = 0; engine < SYSTOLA_ENGINES; engine++) {
        for (i = 0; i < SYSTOLA_CYCLE_CLASSES; i++) {
            counters->classes[engine][i] = get(device, SYSTOLA_CLASS_COUNTER(engine, i));
        }
    }
    for (i = 0; i < SYSTOLA_EVENTS; i++) {
        counters->events[i] = get(device, SYSTOLA_EVENT_COUNTER(i));
    }
}

void systola_read_fault(const systola_device *device, systola_stop *stop) {
    stop->fault = (get(device, SYSTOLA_REG_STATUS) & SYSTOLA_STATUS_FAULT_MASK) >> SYSTOLA_STATUS_FAULT_SHIFT;
    stop->engine = get(device, SYSTOLA_REG_FAULT_ENGINE);
    stop->address = get(device, SYSTOLA_REG_FAULT_ADDRESS_LOW);
    stop->address |= (uint64_t)get(device, SYSTOLA_REG_FAULT_ADDRESS_HIGH) << 32;
}

const char *systola_result_text(systola_result result) {
    switch (result) {
    case SYSTOLA_OK: return "done";
    case SYSTOLA_RUNNING: return "the program has not ended yet";
    case SYSTOLA_ERROR_IDENTITY: return "there is no Systola accelerator at this address";
    case SYSTOLA_ERROR_ISA_VERSION: return "accelerator, driver and network are of different instruction set versions";
    case SYSTOLA_ERROR_FINGERPRINT: return "the network was compiled for another accelerator: compile it for this one";
    case SYSTOLA_ERROR_ALIGNMENT: return "the memory's bus address is not aligned as the network needs it";
    case SYSTOLA_ERROR_ADDRESS: return "the memory ends above the accelerator's address bits";
    case SYSTOLA_ERROR_MEMORY_SIZE: return "the memory is smaller than the network needs";
    case SYSTOLA_ERROR_BUSY: return "a program is running: wait for its end, or halt it";
    case SYSTOLA_ERROR_HOST_STEP: return "a step for the processor has no function, or it failed";
    case SYSTOLA_ERROR_TIMEOUT: return "the program did not end in time";
    case SYSTOLA_ERROR_FAULT: return "the accelerator stopped on a fault";
    }
    return "no result of this driver";
}

const char *systola_fault_text(uint32_t fault) {
    switch ((enum systola_fault)fault) {
    case SYSTOLA_FAULT_NONE: return "no fault";
    case SYSTOLA_FAULT_READ_RESPONSE: return "the memory answered a read with an error";
    case SYSTOLA_FAULT_WRITE_RESPONSE: return "the memory answered a write with an error";
    case SYSTOLA_FAULT_WATCHDOG: return "no instruction finished for watchdog_cycles";
    case SYSTOLA_FAULT_ILLEGAL_INSTRUCTION: return "there is no instruction at this byte of the stream: is the image damaged?";
    case SYSTOLA_FAULT_STOPPED: return "it was told to stop";
    }
    return "for no reason that this driver knows";
}
