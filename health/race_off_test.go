//go:build !race

package health_test

import "testing"

func skipUnderRace(*testing.T) {}
