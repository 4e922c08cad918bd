// Included by the simulation's main program, which is cocotb's.

extern "C" int systola_waveform_on();
extern "C" int systola_asleep();

// While cocotb waits for the interrupt only (the harness's `asleep`), nothing but the clock happens up to cocotb's next timer:
// time goes on here without looking for callbacks. Called at the end of a time step, when all that cocotb wrote is in force.
// Returns true if time went on: the callbacks of the time step that it stopped in, where the interrupt rose, are then due.
template <typename Model>
static inline bool systola_sleep(Model& model, vluint64_t& time) {
    bool moved = false;
    const vluint64_t deadline = VerilatedVpi::cbNextDeadline();
    while (systola_asleep() && model.eventsPending() && model.nextTimeSlot() < deadline) {
        time = model.nextTimeSlot();
        model.eval_step();
        model.eval_end_step();
        moved = true;
    }
    return moved;
}
