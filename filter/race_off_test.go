//go:build !race

package filter_test

import "testing"

func skipUnderRace(*testing.T) {}
