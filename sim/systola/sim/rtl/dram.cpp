// The C++ side of the harness: the DRAM's bytes, the settings, the trace. All of it lives in files that Python maps too.
//
// Paths come from the environment: SYSTOLA_RTL_MEMORY, SYSTOLA_RTL_CONTROL, SYSTOLA_RTL_TRACE, SYSTOLA_RTL_WRITES.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "svdpi.h"

namespace {

constexpr int kEngines = 5;
constexpr int kTraceCountIndex = 64;  // TRACE_COUNT_INDEX and WRITE_COUNT_INDEX in settings.py
constexpr int kWriteCountIndex = 65;

[[noreturn]] void fail(const char* what, const char* detail) {
    std::fprintf(stderr, "systola: %s: %s\n", what, detail);
    std::fflush(stderr);
    std::_Exit(3);
}

// A file named by an environment variable, mapped whole.
struct Mapping {
    char* data = nullptr;
    int64_t bytes = 0;

    explicit Mapping(const char* variable) {
        const char* path = std::getenv(variable);
        if (!path) fail("environment variable not set", variable);
        const int file = open(path, O_RDWR);
        struct stat status;
        if (file < 0 || fstat(file, &status) != 0) fail(path, std::strerror(errno));
        bytes = status.st_size;
        void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (mapped == MAP_FAILED) fail(path, std::strerror(errno));
        data = static_cast<char*>(mapped);
        close(file);
    }
};

pid_t parent;

void leave_if_orphaned(int) {
    if (getppid() != parent) _exit(4);
}

// The simulation ends with the program that started it, however that one ended: a timer looks once a second.
void watch_parent() {
    parent = getppid();
    struct sigaction action = {};
    action.sa_handler = leave_if_orphaned;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, nullptr);
    const struct itimerval interval = {{1, 0}, {1, 0}};
    setitimer(ITIMER_REAL, &interval, nullptr);
}

int64_t* control() {
    static Mapping mapping("SYSTOLA_RTL_CONTROL");
    static const bool watched = (watch_parent(), true);
    (void)watched;
    return reinterpret_cast<int64_t*>(mapping.data);
}

Mapping& memory() {
    static Mapping mapping("SYSTOLA_RTL_MEMORY");
    return mapping;
}

// A file of records that grows by mapped chunks; the number of records is in the control block, so a reader needs no flush.
template <typename Record>
class RecordFile {
public:
    RecordFile(const char* variable, int count_index) : m_count(&control()[count_index]) {
        const char* path = std::getenv(variable);
        if (!path) fail("environment variable not set", variable);
        m_file = open(path, O_RDWR | O_CREAT, 0600);
        if (m_file < 0) fail(path, std::strerror(errno));
    }

    void append(const Record& record) {
        if (m_used == kChunkRecords) grow();
        m_chunk[m_used++] = record;
        ++*m_count;
    }

private:
    static constexpr int64_t kChunkRecords = 1 << 18;
    int m_file;
    int64_t m_chunks = 0;
    int64_t m_used = kChunkRecords;
    Record* m_chunk = nullptr;
    int64_t* m_count;

    void grow() {
        constexpr int64_t bytes = kChunkRecords * sizeof(Record);
        if (m_chunk) munmap(m_chunk, bytes);
        const int full = posix_fallocate(m_file, m_chunks * bytes, bytes);
        if (full != 0) fail("the trace file cannot grow", std::strerror(full));
        void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m_file, m_chunks * bytes);
        if (mapped == MAP_FAILED) fail("the trace file cannot be mapped", std::strerror(errno));
        m_chunk = static_cast<Record*>(mapped);
        ++m_chunks;
        m_used = 0;
    }
};

// TRACE_DTYPE, WRITE_DTYPE and TraceKind in trace.py.
struct TraceRecord {
    uint64_t cycle;
    uint32_t value;
    uint16_t run;
    uint8_t engine;
    uint8_t kind;
};
static_assert(sizeof(TraceRecord) == 16, "layout shared with Python");

struct WriteRecord {
    uint64_t first_cycle;
    uint64_t last_cycle;
    uint64_t address;
    uint32_t length_bytes;
    uint32_t run;
};
static_assert(sizeof(WriteRecord) == 32, "layout shared with Python");

enum Kind : uint8_t { kClass = 0, kTaken = 1, kRetired = 2, kEnd = 3 };
constexpr int kLevelClasses = 2;
constexpr int kTraceLevel = 18;  // Setting.TRACE_LEVEL

RecordFile<TraceRecord>& trace() {
    static RecordFile<TraceRecord> file("SYSTOLA_RTL_TRACE", kTraceCountIndex);
    return file;
}

bool waveform_on = false;
bool asleep = false;

}  // namespace

extern "C" {

long long systola_setting(int index) { return control()[index]; }

void systola_dram_read(long long offset, int bytes, svBitVecVal* data) {
    const Mapping& map = memory();
    if (offset < 0 || offset + bytes > map.bytes) fail("memory", "a read outside the mapped file");
    std::memcpy(data, map.data + offset, bytes);
}

void systola_dram_write(long long offset, int bytes, const svBitVecVal* data, const svBitVecVal* strobes) {
    const Mapping& map = memory();
    if (offset < 0 || offset + bytes > map.bytes) fail("memory", "a write outside the mapped file");
    const char* from = reinterpret_cast<const char*>(data);
    char* to = map.data + offset;
    for (int i = 0; i < bytes; ++i)
        if (strobes[i >> 5] >> (i & 31) & 1) to[i] = from[i];
}

void systola_trace_record(int run, long long cycle, int classes, int taken, int retired) {
    static int last_run = -1;
    static int last_classes = 0;
    static uint32_t taken_count[kEngines];
    static uint32_t retired_count[kEngines];
    const bool first = run != last_run || cycle == 0;
    if (first) {
        std::memset(taken_count, 0, sizeof taken_count);
        std::memset(retired_count, 0, sizeof retired_count);
        last_run = run;
    }
    for (int e = 0; e < kEngines; ++e) {
        const uint8_t engine = e;
        const uint16_t run16 = run;
        const uint32_t now = classes >> (4 * e) & 15;
        const uint32_t before = last_classes >> (4 * e) & 15;
        if (control()[kTraceLevel] >= kLevelClasses && (first || now != before))
            trace().append({uint64_t(cycle), now, run16, engine, kClass});
        if (taken >> e & 1) trace().append({uint64_t(cycle), taken_count[e]++, run16, engine, kTaken});
        if (retired >> e & 1) trace().append({uint64_t(cycle), retired_count[e]++, run16, engine, kRetired});
    }
    last_classes = classes;
}

void systola_trace_end(int run, long long cycle) { trace().append({uint64_t(cycle), 0, uint16_t(run), 7, kEnd}); }

void systola_write_record(int run, long long first_cycle, long long last_cycle, long long address, int length_bytes) {
    static RecordFile<WriteRecord> file("SYSTOLA_RTL_WRITES", kWriteCountIndex);
    file.append({uint64_t(first_cycle), uint64_t(last_cycle), uint64_t(address), uint32_t(length_bytes), uint32_t(run)});
}

void systola_protocol_error(const char* rule) { fail("AXI4 protocol violation", rule); }

void systola_waveform(svBit on) { waveform_on = on; }

void systola_sleep_until_irq(svBit on) { asleep = on; }

// Asked by the simulation's main program (sleep.h) in each time step.
int systola_waveform_on() { return waveform_on; }
int systola_asleep() { return asleep; }
}
