int free_d(int a);
