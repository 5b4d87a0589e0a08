package runner

// exchangeInTwo puts folder a in the place of b, where the system cannot do it in
// one step.
func exchangeInTwo(a, b string, rename func(from, to string) error) error {
	old := a + ".old"
	if err := rename(b, old); err != nil {
		return err
	}
	if err := rename(a, b); err != nil {
		_ = rename(old, b)
		return err
	}
	return nil
}
