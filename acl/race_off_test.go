//go:build !race

package acl_test

import "testing"

func skipUnderRace(*testing.T) {}
