//go:build !race

package all

// slack is what pools take beside a bomb.
const slack = 2 << 20
