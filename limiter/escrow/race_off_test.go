//go:build !race

package escrow

const raceDetector = false
