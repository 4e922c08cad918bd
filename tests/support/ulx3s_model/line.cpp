// The other end of the serial line: a file descriptor, named by the environment.
#include <cstdlib>
#include <unistd.h>

static int descriptor() {
    static const int number = std::atoi(std::getenv("SYSTOLA_LINE"));
    return number;
}

extern "C" int line_get() {
    unsigned char data;
    return read(descriptor(), &data, 1) == 1 ? data : -1;
}

extern "C" void line_put(int data) {
    const unsigned char byte = static_cast<unsigned char>(data);
    while (write(descriptor(), &byte, 1) != 1) usleep(100);
}
