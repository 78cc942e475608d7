//go:build !race

package ewma_test

const raceEnabled = false
