//go:build !amd64

package cpu

func tiers() []*kernels { return []*kernels{&portable} }

func pause() {}
