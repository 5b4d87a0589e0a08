package runner

import "testing"

func TestUsersWordsTakeTheLongestPath(t *testing.T) {
	w := usersWords{"/t/out/data": "a.data", "/t/out/data2": "a.data2", "/t/": ""}
	if got, want := w.in("/t/out/data2/x:3: not /t/out/data, /t/scratch/y"), "a.data2/x:3: not a.data, scratch/y"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
