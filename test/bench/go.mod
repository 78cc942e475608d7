module viaduct/test/bench

go 1.26.0
