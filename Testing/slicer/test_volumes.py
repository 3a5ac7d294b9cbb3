def test_x(scene):
    pass
