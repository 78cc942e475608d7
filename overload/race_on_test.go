//go:build race

package overload_test

const raced = true
