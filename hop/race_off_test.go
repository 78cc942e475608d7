//go:build !race

package hop_test

import "testing"

func skipUnderRace(*testing.T) {}
