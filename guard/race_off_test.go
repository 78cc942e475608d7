//go:build !race

package guard_test

import "testing"

func skipUnderRace(*testing.T) {}
