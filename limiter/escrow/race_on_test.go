//go:build race

package escrow

// raceDetector says that the tests run under it: those of the simulation, which is
// one goroutine, are left to a run without.
const raceDetector = true
